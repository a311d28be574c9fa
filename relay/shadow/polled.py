"""The table, polled by the shadow: which events it has, and not what they say."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import psycopg

from outboxkit import sql
from relay.core.errors import SourceUnavailable
from relay.core.position import Snapshot
from relay.shadow.comparing import AT_MOST
from relay.shadow.pace import Pace
from relay.shadow.reading import Part
from relay.shadow.row import Row
from relay.sources.layout import Layout
from relay.sources.polling.identities import Identities, identities
from relay.sources.polling.reading import raw
from relay.storage.facts import TableFacts
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from relay.storage.state import Mode

_BATCH = 500
"""Rows that are read in one go, in a millisecond or two."""


class PolledReader:
    """Opens the table of `layout`, which is polled every `interval` seconds."""

    mode: Mode = "polling"

    def __init__(
        self,
        session: Session,
        server: Server,
        layout: Callable[[TableFacts], Layout],
        *,
        interval: float,
        pace: Pace,
    ) -> None:
        self._session = session
        self._server = server
        self._layout = layout
        self._interval = interval
        self._pace = pace

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Polled"]:
        """Poll from now on; raises a Problem if the table cannot be polled by snapshot."""
        facts = await self._server.table()
        reads = identities(self._layout(facts), facts, batch=_BATCH)
        polled = Polled(self._session, reads, interval=self._interval, pace=self._pace)
        await polled.begin()
        yield polled


class Polled:
    """Reads rounds: what a new snapshot sees and the one before it had not."""

    slot: str | None = None

    def __init__(self, session: Session, reads: Identities, *, interval: float, pace: Pace) -> None:
        self._session = session
        self._reads = reads
        self._interval = interval
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._since = 0
        self._after: Snapshot | None = None
        self._round: Snapshot | None = None
        """The snapshot of the round that is being read."""
        self._of: psycopg.AsyncConnection[Any] | None = None
        """The connection whose server keeps that round."""
        self._server_started_at: datetime | None = None

    async def begin(self) -> None:
        """Take the snapshot that the first round lies behind."""
        self._after, self._server_started_at = await self._session.work(self._now)

    def count_from(self, transaction: int) -> None:
        """Read only events of `transaction`, and of later ones."""
        self._since = transaction

    async def next(self) -> Part:
        """Return the next rows of a round, or the snapshot of one that is read; waits until one is due."""
        if self._round is None:
            await asyncio.sleep(self._due - self._loop.time())
            self._due = self._loop.time() + self._interval
            snapshot = await self._session.work(lambda connection: self._pace.metered(self._begin(connection)))
            if snapshot is None:
                return Part((), self._after)
            self._round = snapshot
        rows = await self._session.work(lambda connection: self._pace.metered(self._more(connection)))
        if rows:
            return Part(rows)
        self._after, self._round = self._round, None
        return Part((), self._after)

    async def _now(self, connection: psycopg.AsyncConnection[Any]) -> tuple[Snapshot, datetime]:
        row = await (await connection.execute(sql.query("poll_snapshot"))).fetchone()
        assert row is not None  # noqa: S101 - the query always returns one row
        return Snapshot.parse(row[0]), row[2]

    async def _begin(self, connection: psycopg.AsyncConnection[Any]) -> Snapshot | None:
        """Let the server keep the rows of a new round; return its snapshot, or None if it is the one before."""
        assert self._after is not None  # noqa: S101 - it has begun
        await connection.execute(sql.query("rounds_close"))
        self._of = None
        await connection.execute(sql.query("poll_begin"))
        await connection.execute(self._reads.lock)
        snapshot, started_at = await self._now(connection)
        if started_at != self._server_started_at:
            raise SourceUnavailable("the server was started again", remedy="the shadow begins anew by itself")
        if snapshot == self._after:
            await connection.commit()
            return None
        asked = {
            "xmax": str(max(self._after.xmax, self._since)), "running": [*map(str, self._after.running)],
            "now": str(snapshot), "since": str(self._since), "limit": AT_MOST + 1,
        }  # fmt: skip
        # A utility statement has no parameters, so they are put in on this side.
        await psycopg.AsyncClientCursor(connection).execute(self._reads.keep, asked)
        await connection.commit()
        self._of = connection
        return snapshot

    async def _more(self, connection: psycopg.AsyncConnection[Any]) -> list[Row]:
        if self._of is not connection:
            raise psycopg.OperationalError("the session that held the round has ended")
        found = raw(await connection.execute(self._reads.fetch))
        return [self._row(each) for each in found]

    def _row(self, values: tuple[Any, ...]) -> Row:
        fields: dict[str, Any] = {"id": "", "seq": 0, "aggregate_type": "", "aggregate_id": ""}
        *texts, tx = values
        for of, convert, text in zip(self._reads.fields, self._reads.conversions, texts, strict=True):
            if text is not None:
                fields[of] = convert(text.decode())
        return Row(transaction=int(tx), **fields)
