"""Keeps the history of positions: one each ten seconds, for `relay positions`, `relay replay` and `relay audit`.

A position is noted whoever is the active relay, and however far it is: it says what was committed then, not what was
published.
"""

from relay.storage.checkpoint_history import CheckpointHistory

NOTE_EVERY = 10.0
"""Seconds."""
THIN_EVERY = 600.0
"""Seconds."""
_JUST_NOW = 0.9 * NOTE_EVERY
"""Replicas of a relay share one history, and their clocks do not beat together."""


class Positions:
    """Writes `history`."""

    def __init__(self, history: CheckpointHistory) -> None:
        self._history = history

    async def note(self) -> None:
        """Note what is true now; raises a Problem when that cannot be done now."""
        await self._history.note(every=_JUST_NOW)

    async def thin(self) -> None:
        """Remove what is old; raises a Problem when that cannot be done now."""
        await self._history.thin()
