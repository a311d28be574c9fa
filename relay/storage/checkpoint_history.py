"""The positions of the past, and what was confirmed: written as time goes on, and kept small."""

from datetime import timedelta

from relay.storage.sessions.session import Session

_BEYOND = timedelta(days=2)
"""A partition of the outbox ends up to a day after its first event, and is dropped a little later than it might be."""
_SECONDS = 600.0
"""The record of a week is merged and shortened within this time."""


class CheckpointHistory:
    """What the past of `relay` is known by; `keep` is how long events stay in the outbox, None for ever."""

    def __init__(self, session: Session, *, relay: str, keep: timedelta | None) -> None:
        self._session = session
        self._relay = relay
        self._keep = None if keep is None else keep + _BEYOND

    async def note(self, *, every: float) -> None:
        """Note the present, unless a relay of this name has within `every` seconds; raises SourceUnavailable."""
        await self._session.execute("position_note", {"relay": self._relay, "every": every})

    async def thin(self) -> None:
        """Remove and merge what is old; raises SourceUnavailable."""
        asked = {"relay": self._relay, "keep": self._keep}
        await self._session.execute("position_thin", asked, seconds=_SECONDS)
