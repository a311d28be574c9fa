"""A polled outbox: a source on a database of its own, and what its rounds give."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
from psycopg.rows import scalar_row

from relay.core.event import OutboxEvent
from relay.core.position import Snapshot
from relay.core.transactions import Transactions
from relay.sources.layout import NATIVE
from relay.sources.polling.source import POLLS, PollingSource, Settings
from relay.sources.polling.stream import PollingStream
from relay.storage.facts import TableFacts
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from relay.storage.state import State
from sandbox import Isolated


class Outbox:
    """Polls outbox.event of one database."""

    def __init__(self, session: Session, database_url: str) -> None:
        self._server = Server(session, name="relay", slot="unused", table="outbox.event")
        self._session = session
        self._database_url = database_url

    async def now(self) -> State:
        """Return the state of a relay that has published everything that is visible now."""
        found = await self._session.fetch(scalar_row, "snapshot_now", {})
        return State("polling", None, Snapshot.parse(str(found)), Transactions())

    async def table(self) -> TableFacts:
        return await self._server.table()

    @asynccontextmanager
    async def polled(self, state: State, *, batch: int = 1000) -> AsyncIterator[PollingStream]:
        """Open a stream behind `state` over a session of its own, as after a crash of the relay."""
        async with self.session() as session, self.over(session, state, batch=batch) as stream:
            yield stream

    def session(self) -> Session:
        """Return the session of a relay that polls."""
        return Session(lambda: self._database_url, name="relay poll", slot="unused", prepared=POLLS)

    @asynccontextmanager
    async def over(self, session: Session, state: State, *, batch: int) -> AsyncIterator[PollingStream]:
        """Open a stream behind `state` over `session`, as a relay does that goes on by itself."""
        source = PollingSource(
            session,
            lambda _: NATIVE,
            settings=Settings(interval=0.001, batch=batch),
            positions=None,
            listening=None,
            observe=lambda _: None,
        )
        async with source.open(await self._server.facts(), await self.table(), state) as stream:
            yield stream


@asynccontextmanager
async def outbox(isolated: Isolated | str) -> AsyncIterator[Outbox]:
    """Yield the outbox of `isolated`, or of a database's URL."""
    url = isolated if isinstance(isolated, str) else isolated.database_url
    async with Session(lambda: url, name="relay facts", slot="unused") as session:
        yield Outbox(session, url)


async def a_round(stream: PollingStream) -> list[str]:
    """Return the ids of one whole round."""
    ids: list[str] = []
    while True:
        items = await stream.receive()
        ids += events(items)
        last = items[-1]
        if not isinstance(last, OutboxEvent) and last.position.round is None:
            stream.confirm(last.position)
            return ids


async def an_empty_round(stream: PollingStream, isolated: Isolated) -> list[str]:
    """Return the ids of a round that follows a transaction which wrote no event: a round without any commit is none."""
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("SELECT pg_current_xact_id()")
    return await a_round(stream)


def events(items: Sequence[object]) -> list[str]:
    """Return the ids of the events among `items`."""
    return [item.id for item in items if isinstance(item, OutboxEvent)]
