"""Writes fences into the WAL."""

from psycopg.rows import scalar_row

from relay.storage.sessions.session import Session


class FenceWriter:
    """Emits fences for the outbox `table` (`schema.table`; None: messages); see relay/sources/wal/fences.py."""

    def __init__(self, session: Session, *, table: str | None) -> None:
        self._session = session
        self._table = table

    async def emit(self, token: str) -> str | None:
        """Write a fence: `token`, then the snapshot of its transaction, which sees all that lies before it.

        Returns the relations that the outbox has now, as `Facts.relations`.
        """
        parameters = {"token": token, "outbox": self._table}
        relations: str | None = await self._session.fetch(scalar_row, "fence_emit", parameters)
        return relations
