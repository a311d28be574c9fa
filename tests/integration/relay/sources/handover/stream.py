"""Reads from one of the sources directly, as a relay does."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
from psycopg.sql import SQL

from outboxkit import sql
from relay.app import decoding
from relay.core.event import Boundary
from relay.core.position import Lsn, Snapshot
from relay.sources.polling.reading import Reading
from relay.sources.polling.statements import statements
from relay.sources.wal.source import WalSource
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from relay.storage.state import State
from tests.integration.relay.sources.handover.scene import Scene
from tests.support.server import server_started_at


def streamed(scene: Scene, state: State, count: int) -> list[tuple[int, Lsn]]:
    """Stream `count` events from `state`; return of each its transaction, and where that ends."""
    settings = scene.settings()

    async def run() -> list[tuple[int, Lsn]]:
        found: list[tuple[int, Lsn]] = []
        of: list[int] = []
        async with Session(lambda: scene.url, name="test", slot=scene.slot) as session, asyncio.timeout(60):
            server = Server(session, name=settings.name, slot=settings.slot, table=settings.table)
            source = WalSource(
                lambda: scene.url, server, settings.owner, decoding(settings), plugin="auto", writing=None,
                observe=lambda _: None,
            )  # fmt: skip
            facts = replace(await server.facts(), checkpoint_lsn=str(state.lsn))
            table = await server.table()
            async with source.open(facts, table, state) as stream:
                while len(found) < count:
                    for item in await stream.receive():
                        if isinstance(item, Boundary):
                            found += [(each, item.position) for each in of]
                            of = []
                        else:
                            of.append(int(str(item.transaction)))
        return found

    return asyncio.run(run())


class Paused(Session):
    """Calls `then` when a poll has taken its snapshot, and before it reads the rows."""

    def __init__(self, database_url: str, then: Callable[[], object] = lambda: None) -> None:
        prepared = ("stream_formats", "session_poll")
        super().__init__(lambda: database_url, name="test poll", slot="none", prepared=prepared)
        self.then = then

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        connection = await super()._connect()
        execute = connection.execute

        async def watched(query: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as psycopg has it
            cursor = await execute(query, *arguments, **options)
            if query == sql.query("poll_snapshot"):
                await asyncio.to_thread(self.then)
            return cursor

        connection.execute = watched  # type: ignore[method-assign]
        return connection


class Poller:
    """Polls when it is told to, from the snapshot before; `lock` takes the place of its first statement."""

    def __init__(self, scene: Scene, *, lock: LiteralString | None = None, url: str | None = None) -> None:
        self._scene = scene
        self._settings = scene.settings()
        self.url = url or scene.url
        """The database that is polled."""
        self._lock = lock
        self.snapshot = Snapshot.parse(scene.value("SELECT pg_current_snapshot()::text"))

    def poll(self, then: Callable[[], object] = lambda: None) -> list[str]:
        """Return the names of the events that are new; `then` is called between the snapshot and the rows."""
        return asyncio.run(self._poll(then))

    async def _poll(self, then: Callable[[], object]) -> list[str]:
        async with Session(lambda: self.url, name="test", slot="none") as asking, Paused(self.url, then) as session:
            table = await Server(asking, name="relay", slot="none", table="outbox.event").table()
            reads = statements(self._settings.layout(partitioned=table.partitioned), table, batch=1000)
            if self._lock is not None:
                reads = replace(reads, lock=SQL(self._lock).format())
            reading = Reading(session, reads, batch=1000, server_started_at=server_started_at(self.url))
            begun = await reading.begin(self.snapshot, None)
            self.snapshot = begun.snapshot
            texts = [[None if value is None else value.decode() for value in row[:-2]] for row in begun.rows]
            return [reads.reader.event(text, lambda: datetime.now(UTC)).aggregate_id for text in texts]
