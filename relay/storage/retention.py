"""The old partitions of the outbox: which there are, and dropping them. The database decides what may be dropped."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row, scalar_row

from outboxkit import sql
from relay.storage.sessions.session import Session


class OldPartition(NamedTuple):
    """A partition that is older than what is kept."""

    partition: str
    until: datetime
    """When its last day ended."""
    obstacle: str | None
    """What keeps it from being dropped."""


class OldPartitions:
    """The partitions of outbox.event that are older than `keep`."""

    def __init__(self, session: Session, keep: timedelta) -> None:
        self._session = session
        self._keep = keep

    async def list(self) -> list[OldPartition]:
        """Return them, oldest first; raises SourceUnavailable or SourceRefused."""

        async def ask(connection: psycopg.AsyncConnection[Any]) -> list[OldPartition]:
            cursor = connection.cursor(row_factory=class_row(OldPartition))
            return await (await cursor.execute(sql.query("retention_list"), {"keep": self._keep})).fetchall()

        return await self._session.work(ask)

    async def drop(self, partition: str) -> str | None:
        """Drop one, and return what kept it from that, if anything. A writer waits for little more than 0.5 s."""
        asked = {"partition": partition, "keep": self._keep}
        return await self._session.fetch(scalar_row, "retention_drop", asked, seconds=_SECONDS)

    async def drain(self) -> int:
        """Remove some old events from the default partition, and return how many."""
        return int(
            await self._session.fetch(scalar_row, "retention_drain", {"keep": self._keep}, seconds=_SECONDS) or 0
        )


_SECONDS = 600.0
"""A partition is counted before it is dropped."""
