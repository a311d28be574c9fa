"""A session on a real Postgres: statements take turns, each has its own time limit, and a dead link is left."""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.rows import scalar_row

from relay.core.errors import SourceUnavailable
from relay.storage.sessions.session import Session
from sandbox.lifetime.isolation import Isolated
from tests.support.proxy import Proxy

CONNECT_SECONDS = 10
SAVED = {
    "name": "relay",
    "slot": "outbox_relay",
    "lsn": "0/10",
    "snapshot": None,
    "system_identifier": "7",
    "timeline": 1,
    "plugin": "wal2json",
    "outboxes": ["outbox.event"],
}
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"


@contextmanager
def locked(isolated: Isolated) -> Iterator[psycopg.Connection[tuple[int]]]:
    """Lock the table of stored positions."""
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("LOCK TABLE relay.checkpoint")
        yield connection


def test_a_statement_that_waits_for_its_turn_has_its_whole_time_afterwards(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with Session(lambda: isolated.database_url, name=isolated.name, slot="none") as session:
            with locked(isolated) as connection:
                first = asyncio.create_task(session.execute("slot_checkpoint", {"name": "relay"}))
                second = asyncio.create_task(session.fetch(scalar_row, "wal_level", {}, seconds=2))
                await asyncio.wait([first, second], timeout=3)
                assert not first.done()
                assert not second.done()
                connection.rollback()
            await first
            assert await second == "logical"

    asyncio.run(scenario())


def test_a_caller_that_is_cancelled_does_not_wait_for_a_server_that_does_not_answer(isolated: Isolated) -> None:
    async def scenario() -> None:
        with Proxy(isolated.database_url) as proxy:
            session = Session(lambda: proxy.url, name=isolated.name, slot="none")
            await session.execute("wal_level", {})
            proxy.swallow_to_client.set()
            asking = [asyncio.create_task(session.execute("wal_level", {})) for _ in range(3)]
            await asyncio.wait(asking, timeout=0.2)
            started = time.monotonic()
            for each in asking:
                each.cancel()
            await asyncio.wait(asking)
            await session.close()
            assert time.monotonic() - started < 5

    asyncio.run(scenario())


def test_what_fails_behind_a_caller_that_is_cancelled_is_not_logged_as_a_bug(isolated: Isolated) -> None:
    logged: list[str] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context["message"]))
        with Proxy(isolated.database_url) as proxy:
            session = Session(lambda: proxy.url, name=isolated.name, slot="none")
            await session.execute("wal_level", {})
            proxy.swallow_to_client.set()
            asking = asyncio.create_task(session.execute("wal_level", {}))
            await asyncio.wait([asking], timeout=0.2)
            asking.cancel()
            await asyncio.wait([asking])
            await session.close()  # cuts the statement, which fails
        gc.collect()

    asyncio.run(scenario())
    assert logged == []


def test_callers_that_ask_at_once_when_a_link_is_back_share_one_connection(isolated: Isolated) -> None:
    async def scenario() -> None:
        with psycopg.connect(isolated.database_url, autocommit=True) as connection:
            async with Session(lambda: isolated.database_url, name=isolated.name, slot="none") as session:
                await asyncio.gather(*(session.execute("wal_level", {}) for _ in range(5)))
                found = connection.execute(SESSIONS, [isolated.name]).fetchall()
                assert found == [(1,)]

    asyncio.run(scenario())


def test_a_connection_that_cannot_be_made_fails_everything_that_waits_for_it_at_once(isolated: Isolated) -> None:
    async def scenario() -> None:
        with Proxy(isolated.database_url) as proxy:
            proxy.swallow_to_client.set()
            async with Session(lambda: proxy.url, name=isolated.name, slot="none") as session:
                started = time.monotonic()
                asking = [session.execute("wal_level", {}) for _ in range(4)]
                problems = await asyncio.gather(*asking, return_exceptions=True)
                took = time.monotonic() - started
            assert [type(each) for each in problems] == [SourceUnavailable] * 4
            assert took < 2 * CONNECT_SECONDS

    asyncio.run(scenario())


def test_a_query_whose_turn_has_not_come_is_dropped_with_its_caller(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with Session(lambda: isolated.database_url, name=isolated.name, slot="none") as session:
            with locked(isolated) as connection:
                first = asyncio.create_task(session.execute("slot_checkpoint", {"name": "relay"}))
                second = asyncio.create_task(session.execute("checkpoint_save", SAVED))
                await asyncio.wait([first, second], timeout=0.5)
                second.cancel()
                await asyncio.wait([second])
                connection.rollback()
            await first
        with psycopg.connect(isolated.database_url) as connection:
            assert connection.execute("SELECT name FROM relay.checkpoint").fetchall() == []

    asyncio.run(scenario())
