"""Reads rounds: the rows that a new snapshot sees and an earlier one had not.

A round is small, and read at once; or it is larger than a batch, and its keys are kept by the server (a cursor that
outlives its transaction), so that this process holds one batch, and no transaction is open, however long it takes.

What a round's snapshot sees counts only when it is flushed: until then a crash of the server can take it back.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg.pq import Format

from outboxkit import sql
from relay.core.errors import PositionLost
from relay.core.position import Round, Snapshot
from relay.sources.polling.statements import Statements
from relay.storage.sessions.session import Session

_SECONDS = 600.0
"""A backlog of many millions of keys is sorted within this time."""
_KEYS = ("tx", "key", "place", "relation", "at")
"""The columns of a key, and the parameters that take them."""

Row = tuple[Any, ...]
"""The columns as Postgres wrote them, bytes or None; then tx and the place in the transaction, never None."""


class Begun(NamedTuple):
    """What a poll has found."""

    snapshot: Snapshot
    rows: Sequence[Row]
    """All rows of a small round; none of a large one."""
    large: bool


class Batch(NamedTuple):
    """A part of a large round."""

    rows: Sequence[Row]
    seq: int | None = None
    """How far it goes; None if the table has no such number."""
    gone: int = 0
    """How many rows were removed since the round was begun, of those that would have been in it."""


class Reading:
    """Reads from the table of `statements`, in batches of `batch` rows, as long as the server runs that began then.

    A session that is lost is replaced without a word. After a restart the server may be older: an earlier copy, or
    without what a crash took back; then the ids that a snapshot of before sees are given out again.
    """

    def __init__(self, session: Session, statements: Statements, *, batch: int, server_started_at: datetime) -> None:
        self._session = session
        self._statements = statements
        self._batch = batch
        self._server_started_at = server_started_at
        self._cursor_of: psycopg.AsyncConnection[Any] | None = None
        """The connection whose cursor has the keys of the round."""
        self._empty: psycopg.AsyncConnection[Any] | None = None
        """The connection that has no cursor; another one may have that of a reading that was broken off."""

    async def begin(self, after: Snapshot, resumed: Round | None) -> Begun:
        """Take a new snapshot, or the one that is `resumed`, and return what it sees and `after` had not.

        Raises SourceUnavailable, PositionLost if the server was started again, or SourceRefused. What is returned is
        flushed.
        """
        return await self._session.work(lambda connection: self._begin(connection, after, resumed), _SECONDS)

    async def more(self) -> Batch:
        """Return the next rows of a large round; none at its end. Raises SourceUnavailable if the server lost it."""
        return await self._session.work(self._more)

    async def _begin(self, connection: psycopg.AsyncConnection[Any], after: Snapshot, resumed: Round | None) -> Begun:
        asked: dict[str, object] = {
            "xmax": str(after.xmax), "running": [*map(str, after.running)], "limit": self._batch + 1,
            "beyond": -(2**63) if resumed is None else resumed.seq,
        }  # fmt: skip
        if self._empty is not connection:
            await connection.execute(sql.query("rounds_close"))
        self._cursor_of = self._empty = None
        await connection.execute(sql.query("poll_begin"))
        await connection.execute(self._statements.lock)
        taken = await (await connection.execute(sql.query("poll_snapshot"))).fetchone()
        assert taken is not None  # noqa: S101 - the query always returns one row
        now, written, server_started_at = taken
        if server_started_at != self._server_started_at:
            raise PositionLost(
                "the server was started again since the poll began",
                remedy="the relay reads the stored position, and goes on from there by itself",
            )
        snapshot = Snapshot.parse(now) if resumed is None else resumed.snapshot
        asked["now"] = str(snapshot)
        rows: Sequence[Row] = ()
        count = 0
        if snapshot != after:
            counted = await (await connection.execute(self._statements.count, asked)).fetchone()
            count = counted[0] if counted else 0
        if large := count > self._batch:
            # A utility statement has no parameters, so they are put in on this side.
            await psycopg.AsyncClientCursor(connection).execute(self._statements.keys, asked)
        elif count:
            rows = raw(await connection.execute(self._statements.rows, asked))
        await connection.commit()
        self._cursor_of, self._empty = (connection, None) if large else (None, connection)
        await connection.execute(sql.query("poll_flush"), {"written": written})
        return Begun(snapshot, rows, large)

    async def _more(self, connection: psycopg.AsyncConnection[Any]) -> Batch:
        if self._cursor_of is not connection:
            raise psycopg.OperationalError("the session that held the keys of the round has ended")
        rows: Sequence[Row] = ()
        last: str | None = None
        gone = 0
        while not rows:  # all rows of some keys may have been deleted
            keys = raw(await connection.execute(self._statements.fetch))
            if not keys:
                return Batch((), gone=gone)
            last = _text(keys[-1][1])
            await connection.execute(sql.query("poll_begin"))
            await connection.execute(self._statements.lock)
            rows = await self._rows(connection, keys)
            gone += len(keys) - len(rows)
            await connection.commit()
        return Batch(rows, int(str(last)) if self._statements.ordered else None, gone)

    async def _rows(self, connection: psycopg.AsyncConnection[Any], keys: Sequence[Row]) -> Sequence[Row]:
        """Return the rows of `keys` in their order, those too that no longer lie where they were."""
        found = raw(await connection.execute(self._statements.batch, _asked(keys)))
        if len(found) == len(keys):
            return [row[:-1] for row in found]
        rows = {int(row[-1]): row[:-1] for row in found}
        missing = [number for number in range(1, len(keys) + 1) if number not in rows]
        moved = raw(await connection.execute(self._statements.moved, _asked([keys[at - 1] for at in missing])))
        rows |= {missing[int(row[-1]) - 1]: row[:-1] for row in moved}
        return [rows[number] for number in sorted(rows)]


def _asked(keys: Sequence[Row]) -> dict[str, list[str | None]]:
    return {name: [_text(each[at]) for each in keys] for at, name in enumerate(_KEYS)}


def raw(cursor: psycopg.AsyncCursor[Any]) -> Sequence[Row]:
    """Return the rows as the texts that Postgres sent: its own output, as a stream has it."""
    result = cursor.pgresult
    assert result is not None  # noqa: S101 - it was a query
    assert result.fformat(0) == Format.TEXT  # noqa: S101 - the default
    columns = range(result.nfields)
    return [tuple(result.get_value(row, column) for column in columns) for row in range(result.ntuples)]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
