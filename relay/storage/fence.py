"""Writes fences into the WAL."""

from relay.storage.session import Session


class FenceWriter:
    """Emits fences; relay/sources/wal/fences.py says what they are for."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def emit(self, token: str) -> None:
        """Write a fence: `token`, then the snapshot of its transaction, which sees all that lies before it."""
        await self._session.execute("fence_emit", {"token": token})
