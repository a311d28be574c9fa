"""Keeps the marks few: brings the stored snapshot forward, and removes what it stands for (published.py).

It is stored in relay.checkpoint, where it means what it means for every relay: all that it sees is published. So what
reads it there works as with the other sources: retention, `relay status`, and a later RELAY_POLL_STRATEGY=snapshot.

Where the table has no `tx`, a mark stays as long as its row, and is removed after it.
"""

from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row, scalar_row

from outboxkit import sql
from relay.core.position import Snapshot
from relay.sources.polling.skip_locked.published import brought_forward
from relay.sources.polling.skip_locked.statements import Statements
from relay.storage.sessions.session import Session

_AT_MOST = 1000
"""Rows that are not published, to be looked at."""
_SECONDS = 600.0


class Unmarked(NamedTuple):
    """The columns of sql/queries/marks_unmarked.sql."""

    now: str
    late: list[int]
    new: list[int]


class Marks:
    """The marks of the relay and outbox named in `whose`."""

    def __init__(self, session: Session, statements: Statements, whose: dict[str, str]) -> None:
        self._session = session
        self._statements = statements
        self._whose = whose

    async def tidy(self) -> None:
        """Remove the marks that are not needed; raises SourceUnavailable, or SourceRefused."""
        await self._session.work(self._bring_forward if self._statements.by_tx else self._remove_gone, _SECONDS)

    async def _bring_forward(self, connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.execute(sql.query("skip_begin"))
        await connection.execute(sql.query("skip_plan"))
        cursor = connection.cursor(row_factory=scalar_row)
        text = await (await cursor.execute(sql.query("marks_low"), self._whose)).fetchone()
        if text is None:  # another poller is at it
            await connection.rollback()
            return
        await connection.execute(self._statements.wait)
        asked = {**self._whose, "limit": _AT_MOST}
        found = connection.cursor(row_factory=class_row(Unmarked))
        unmarked = await (await found.execute(self._statements.unmarked, asked)).fetchone()
        assert unmarked is not None  # noqa: S101 - the query always returns one row
        now, complete = Snapshot.parse(unmarked.now), len(unmarked.new) < _AT_MOST
        stored = str(brought_forward(now, unmarked.late, unmarked.new, complete=complete))
        if stored != text:
            await connection.execute(sql.query("marks_store"), {**self._whose, "snapshot": stored})
            await connection.execute(sql.query("marks_remove"), {**self._whose, "snapshot": stored})
        await connection.commit()

    async def _remove_gone(self, connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.execute(self._statements.remove_gone, self._whose)
