"""A COMMIT whose answer is lost: the writer learns its outcome, and the tasks exist exactly once."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sandbox import Isolated
from sandbox.machine.waiting import until
from writers import NewTask
from writers.committing import Session, in_progress
from writers.errors import OutcomeUnknown, Unavailable

Connection = psycopg.Connection[Any]
TASKS = [NewTask("send") for _ in range(3)]
COMMIT = b"COMMIT\0"  # the statement's text, and the server's answer to it
IDS = sorted(task.id for task in TASKS)


class Cut(Enum):
    """Where the proxy cuts the connection that sends COMMIT."""

    BEFORE = "the server never gets the COMMIT"
    AFTER = "the server has answered, and the answer is lost"
    DURING = "the server has the COMMIT and has not answered"


class Proxy:
    """Forwards to Postgres; cuts the first connection that commits, and with `for_good` every later one."""

    def __init__(self, url: str, cut: Cut, *, for_good: bool = False) -> None:
        self._url = url
        self._target = conninfo_to_dict(url)
        self._cut: Cut | None = cut
        self._for_good = for_good
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        """The database through this proxy, in clear text so that it can find the COMMIT."""
        return make_conninfo(self._url, host="127.0.0.1", port=self.port, sslmode="disable", gssencmode="disable")

    async def serve(self, client: StreamReader, to_client: StreamWriter) -> None:
        self.connections += 1
        if self._cut is None and self._for_good:
            to_client.close()
            return
        server, to_server = await asyncio.open_connection(str(self._target["host"]), int(str(self._target["port"])))
        backwards = asyncio.create_task(pump(server, to_client))
        try:
            await self._forward(client, server, to_server, backwards)
        finally:
            backwards.cancel()
            to_server.close()
            to_client.close()

    async def _forward(
        self, client: StreamReader, server: StreamReader, to_server: StreamWriter, backwards: asyncio.Task[None]
    ) -> None:
        while data := await client.read(65536):
            if self._cut is None or COMMIT not in data:
                to_server.write(data)
                continue
            cut, self._cut = self._cut, None
            backwards.cancel()
            await asyncio.wait([backwards])
            if cut is not Cut.BEFORE:
                to_server.write(data)
                await to_server.drain()
            if cut is Cut.AFTER:
                assert COMMIT in await server.read(65536)
            return


async def pump(source: StreamReader, target: StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)


@asynccontextmanager
async def proxied(isolated: Isolated, cut: Cut, *, for_good: bool = False) -> AsyncIterator[Proxy]:
    proxy = Proxy(isolated.database_url, cut, for_good=for_good)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy


@asynccontextmanager
async def session(url: str, *, retry_for: float = 20) -> AsyncIterator[Session]:
    session = Session(url, retry_for=retry_for)
    try:
        yield session
    finally:
        await session.close()


@pytest.fixture
def database(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        yield connection


def rows(database: Connection) -> tuple[list[UUID], int]:
    """Return the ids of all tasks, sorted, and the number of events."""
    ids = [task_id for (task_id,) in database.execute("SELECT id FROM tasks.task ORDER BY id")]
    return ids, database.execute("SELECT FROM outbox.event").rowcount


def always() -> bool:
    return True


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
def test_the_tasks_exist_once_wherever_the_connection_was_cut(
    cut: Cut, isolated: Isolated, database: Connection
) -> None:
    async def commit() -> int:
        async with proxied(isolated, cut) as proxy, session(proxy.url) as writer:
            assert await writer.commit(TASKS, wanted=always)
            return proxy.connections

    assert asyncio.run(commit()) == 2, "the first was cut, the second learned the outcome"
    assert rows(database) == (IDS, 3)


@pytest.mark.parametrize(("cut", "there"), [(Cut.BEFORE, 0), (Cut.AFTER, 3)])
def test_a_writer_that_is_stopped_still_learns_the_outcome(
    cut: Cut, there: int, isolated: Isolated, database: Connection
) -> None:
    async def commit() -> bool:
        async with proxied(isolated, cut) as proxy, session(proxy.url) as writer:
            return await writer.commit(TASKS, wanted=lambda: False)

    assert asyncio.run(commit()) is (there > 0)
    assert rows(database)[1] == there


@pytest.mark.parametrize(("end", "there"), [("commits", 3), ("is terminated", 0)])
def test_a_commit_that_is_still_under_way_is_waited_for(
    end: str, there: int, isolated: Isolated, database: Connection
) -> None:
    """The server still works on COMMIT after the client is gone: a query for the rows would find none yet."""
    database.execute(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END'"
    )
    database.execute(
        "CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON tasks.task DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION linger()"
    )
    database.execute("SELECT pg_advisory_lock(1)")

    async def commit() -> bool:
        async with proxied(isolated, Cut.DURING) as proxy, session(proxy.url) as writer:
            committing = asyncio.create_task(writer.commit(TASKS, wanted=lambda: False))
            await asyncio.to_thread(until, lambda: asked(database), what="the writer has asked once", seconds=10)
            assert not committing.done()
            if end == "is terminated":
                database.execute("SELECT pg_terminate_backend(%s, 5000)", [lingering(database)])
            database.execute("SELECT pg_advisory_unlock(1)")
            return await committing

    assert asyncio.run(commit()) is (there > 0)
    assert rows(database)[1] == there


def lingering(database: Connection) -> int | None:
    """Return the process id of the server's session that waits in its COMMIT."""
    row = database.execute(
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND query = 'COMMIT' AND wait_event = 'advisory'"
    ).fetchone()
    return row[0] if row else None


def asked(database: Connection) -> bool:
    """Return whether the second session has asked once, while the first waits in its COMMIT."""
    row = database.execute(
        "SELECT FROM pg_stat_activity"
        " WHERE datname = current_database() AND query = 'COMMIT' AND state = 'idle' AND pid <> pg_backend_pid()"
    ).fetchone()
    return row is not None and lingering(database) is not None


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
def test_without_a_new_connection_the_outcome_is_unknown_and_not_guessed(cut: Cut, isolated: Isolated) -> None:
    async def commit() -> None:
        async with proxied(isolated, cut, for_good=True) as proxy, session(proxy.url, retry_for=0.3) as writer:
            with pytest.raises(OutcomeUnknown, match=f"look for task {TASKS[0].id}"):
                await writer.commit(TASKS, wanted=always)

    asyncio.run(commit())


def test_a_database_that_stays_unreachable_is_given_up_at_the_deadline() -> None:
    async def commit() -> None:
        async with session("host=127.0.0.1 port=1", retry_for=0.3) as writer:
            with pytest.raises(Unavailable, match=r"accepted nothing for 0\.3 s .*Connection refused"):
                await writer.commit(TASKS, wanted=always)

    asyncio.run(commit())


def test_a_transaction_that_a_crash_lost_or_that_ended_long_ago_is_not_in_progress(isolated: Isolated) -> None:
    async def ask() -> None:
        async with await psycopg.AsyncConnection.connect(isolated.database_url) as connection:
            assert not await in_progress(connection, str(2**62)), "an id that the server has not given out"
            assert not await in_progress(connection, "3"), "too old to be known"
            cursor = await connection.execute("SELECT pg_current_xact_id()::text")
            [(own,)] = await cursor.fetchall()
            async with await psycopg.AsyncConnection.connect(isolated.database_url) as other:
                assert await in_progress(other, own)

    asyncio.run(ask())
