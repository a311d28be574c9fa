"""Makes the outbox's partitions of the coming days; rows of a missing day go to the default partition meanwhile."""

from relay.storage.sessions.session import Session

MAKE_EVERY = 3600.0
"""Seconds."""


class Partitions:
    """The outbox's partitions."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def make(self) -> None:
        """Make those of today and the coming week; raises a Problem when that cannot be done now."""
        await self._session.execute("create_partitions", {})
