"""A batch: rows that are locked, published, and marked as published, in one transaction.

The lock keeps other pollers off; the mark tells them afterwards. A poller that ends before its transaction does, for
whatever reason, leaves no mark, and its rows are read again. The order inside is what makes it safe:

    1. Lock rows that have no mark, passing over those that others have locked.
    2. Look at their marks again, in a new statement. The first one may have begun before the mark of a row was
       committed, and got the row's lock when that transaction let go of it: it would publish the row twice.
    3. Wait until the WAL is flushed up to where the rows were read: what a crash of the server can take back is not
       published.
    4. Publish; wait until each message is confirmed, or parked durably.
    5. Mark, and commit.

No transaction stays open for long: what is not confirmed in time is rolled back, and Postgres ends the session of a
poller that is frozen (sql/queries/session_skip_locked.sql).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row, scalar_row
from psycopg.sql import Composed

from outboxkit import sql
from relay.core.errors import RowsReleased
from relay.core.evidence import Evidence
from relay.core.observations import Observe, Skipped
from relay.sources.polling.reading import raw
from relay.sources.polling.skip_locked.statements import Statements
from relay.storage.sessions.session import Session

HELD_AT_MOST = 60.0
"""Seconds for which a batch may wait for its confirms."""
_LOOK_EVERY = 2.0
"""Seconds between two signs of life of a transaction that waits."""
_SECONDS = 600.0
"""A large table without `tx` is compared with its marks within this time."""

Row = tuple[bytes | None, ...]


class Locked(NamedTuple):
    """A row of the batch: its columns as Postgres wrote them, the transaction that wrote it if known, and its key."""

    values: Row
    tx: int | None
    key: str


class Marking(NamedTuple):
    """The rows of a batch that are to be marked."""

    keys: list[str]
    tx: list[str | None]


class Ended(NamedTuple):
    """How a batch ended."""

    again: bool
    """Whether there may be more to publish at once."""
    caught_up: bool
    """Whether every row that was visible is published."""
    published: int


class Again(NamedTuple):
    """The columns of sql/queries/skip_marked.sql."""

    marked: Sequence[str]
    transaction: str
    written: str


class Batches:
    """Locks batches of `batch` rows for the relay and outbox named in `whose`; with `aggregates`, their aggregates too.

    `beside` is a session that asks about the one that has the rows.
    """

    def __init__(  # noqa: PLR0913 - made in one place, by the source
        self,
        session: Session,
        beside: Session,
        statements: Statements,
        whose: dict[str, str],
        *,
        batch: int,
        aggregates: bool,
        evidence: Evidence,
        observe: Observe,
        held_at_most: float = HELD_AT_MOST,
    ) -> None:
        self._session = session
        self._beside = beside
        self._statements = statements
        self._whose = whose
        self._batch = batch
        self._aggregates = aggregates
        self._evidence = evidence
        self._observe = observe
        self._held_at_most = held_at_most
        self._transaction: str | None = None
        """The transaction that has rows locked."""
        self.unmarked: Marking | None = None
        """What was handed over last, while its marks are not known to be committed."""

    async def next(self, publish: Callable[[Sequence[Locked]], asyncio.Future[None]]) -> Ended:
        """Lock a batch, hand it to `publish`, and mark it when that is done; roll back if that is cancelled.

        Raises SourceUnavailable when the transaction is over before that, and SourceRefused.
        """
        try:
            return await self._session.work(
                lambda connection: self._next(connection, publish), _SECONDS + self._held_at_most
            )
        finally:
            self._transaction = None

    async def held(self) -> bool:
        """Ask whether rows that were handed over are still locked; raises SourceUnavailable if there is no answer."""
        if self._transaction is None:
            return self.unmarked is None
        asked = {"transaction": self._transaction}
        return bool(await self._beside.fetch(scalar_row, "skip_in_progress", asked))

    async def mark(self, marking: Marking) -> None:
        """Mark rows that were published by a batch whose transaction ended too soon; raises SourceUnavailable."""

        async def work(connection: psycopg.AsyncConnection[Any]) -> None:
            await connection.execute(sql.query("skip_begin"))
            await self._commit(connection, marking)

        await self._session.work(work)

    async def _next(
        self,
        connection: psycopg.AsyncConnection[Any],
        publish: Callable[[Sequence[Locked]], asyncio.Future[None]],
    ) -> Ended:
        await connection.execute(sql.query("skip_begin"))
        await connection.execute(sql.query(self._statements.plan))
        found, locked = _locked(await self._ask(connection, self._statements.lock))
        elsewhere = 0 if found is None else found - len(locked)
        if not locked:
            await connection.commit()
            self._tell(Skipped(elsewhere))
            return Ended(again=False, caught_up=elsewhere == 0, published=0)
        written, rows = await self._look_again(connection, locked)
        conflicts, unmarked = len(locked) - len(rows), len(rows)
        if self._aggregates:
            rows = await self._lock_aggregates(connection, rows)
        self._tell(Skipped(elsewhere, unmarked - len(rows), conflicts))
        if not rows:
            await connection.rollback()
            return Ended(again=conflicts > 0, caught_up=False, published=0)
        await self._beside.execute("poll_flush", {"written": written})
        marking = Marking([row.key for row in rows], [None if row.tx is None else str(row.tx) for row in rows])
        self.unmarked = marking
        if not await self._confirmed(connection, publish(rows)):
            await connection.rollback()
            return Ended(again=False, caught_up=False, published=0)
        marked = await self._commit(connection, marking)
        self.unmarked = None
        self._tell(Skipped(conflicts=len(set(marking.keys)) - marked))
        complete = found is not None and elsewhere == 0 and unmarked == len(rows)
        return Ended(again=found is None, caught_up=complete, published=len(rows))

    async def _commit(self, connection: psycopg.AsyncConnection[Any], marking: Marking) -> int:
        """Commit the marks of rows that are published, and what was confirmed; return how many marks are new."""
        confirms, stored = self._evidence.take(), False
        try:
            marks = await connection.execute(sql.query("skip_mark"), {**self._whose, **marking._asdict()})
            await connection.execute(sql.query("confirmed_note"), {**self._whose, **confirms.parameters()})
            await connection.commit()
            stored = True
        finally:
            if not stored:
                self._evidence.give_back(confirms)
        return marks.rowcount

    async def _look_again(
        self, connection: psycopg.AsyncConnection[Any], locked: Sequence[Locked]
    ) -> tuple[str, Sequence[Locked]]:
        """Return how far the WAL was written when `locked` was read, and what of it is not marked by now."""
        asked = {
            **self._whose,
            "keys": [row.key for row in locked],
            "tx": [None if row.tx is None else str(row.tx) for row in locked],
        }
        cursor = await connection.cursor(row_factory=class_row(Again)).execute(sql.query("skip_marked"), asked)
        again = await cursor.fetchone()
        assert again is not None  # noqa: S101 - the query always returns one row
        self._transaction = again.transaction
        marked = set(again.marked)
        return again.written, [row for row in locked if row.key not in marked]

    async def _lock_aggregates(
        self, connection: psycopg.AsyncConnection[Any], rows: Sequence[Locked]
    ) -> Sequence[Locked]:
        """Lock the aggregates of `rows`; return the rows of those that nobody else has."""
        of = [self._aggregate(row) for row in rows]
        aggregates = list(dict.fromkeys(of))
        types, ids = [kind for kind, _ in aggregates], [name for _, name in aggregates]
        asked = {**self._whose, "types": types, "ids": ids}
        cursor = connection.cursor(row_factory=scalar_row)
        taken = await (await cursor.execute(sql.query("skip_aggregates"), asked)).fetchall()
        others = {aggregates[place - 1] for place in taken}
        return [row for row, aggregate in zip(rows, of, strict=True) if aggregate not in others]

    def _aggregate(self, row: Locked) -> tuple[str, str]:
        kind, name = (row.values[place] or b"" for place in self._statements.aggregate)
        return kind.decode(), name.decode()

    async def _confirmed(self, connection: psycopg.AsyncConnection[Any], published: asyncio.Future[None]) -> bool:
        """Wait until the batch is published, and show Postgres that this process lives; return False if it is not."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._held_at_most
        while True:
            await asyncio.wait({published}, timeout=min(_LOOK_EVERY, max(0.0, ends - loop.time())))
            if published.done():
                return not published.cancelled()
            if loop.time() >= ends:
                raise RowsReleased(
                    f"RabbitMQ has not confirmed a batch for {self._held_at_most:g} s; its rows are unlocked",
                    remedy="see RabbitMQ's alarms and its log; they are read again when it has confirmed what it got",
                )
            await connection.execute(sql.query("backend_pid"))

    async def _ask(self, connection: psycopg.AsyncConnection[Any], statement: Composed) -> Sequence[Row]:
        return raw(await connection.execute(statement, self._whose))

    def _tell(self, skipped: Skipped) -> None:
        if skipped != Skipped():
            self._observe(skipped)


def _locked(answer: Sequence[Row]) -> tuple[int | None, Sequence[Locked]]:
    """Return what sql/queries/skip_lock.sql says: how many rows there were, if it was counted, and the locked ones."""
    found = answer[0][0]
    rows = [
        Locked(tuple(values), None if tx is None else int(tx), key.decode())
        for _, *values, tx, key in answer
        if key is not None
    ]
    return None if found is None else int(found), rows
