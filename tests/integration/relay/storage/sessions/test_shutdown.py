"""A session that Postgres ends: whether that is its shutdown, and that an idle session hears it at once."""

import asyncio
import threading

import psycopg
import pytest
from psycopg.rows import scalar_row

from relay.core.errors import SourceUnavailable
from relay.core.lifetime.shutdown import Shutdown
from relay.storage.sessions.session import Session
from relay.storage.sessions.shutdown import Address, ShutdownWatch, takes_sessions
from sandbox import Sandbox
from sandbox.lifetime.isolation import Isolated
from sandbox.machine import ports
from sandbox.machine.waiting import until
from tests.integration.relay.stage import held

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"


def address(isolated: Isolated) -> Address:
    with psycopg.connect(isolated.database_url) as connection:
        return Address(connection.info.hostaddr or connection.info.host, connection.info.port)


async def terminate(isolated: Isolated) -> None:
    async with await psycopg.AsyncConnection.connect(isolated.database_url, autocommit=True) as connection:
        await connection.execute(TERMINATE, [isolated.name])


def test_an_idle_session_hears_at_once_that_it_is_ended(isolated: Isolated) -> None:
    async def scenario() -> None:
        heard = asyncio.get_running_loop().create_future()
        async with Session(
            lambda: isolated.database_url, name=isolated.name, slot="none", ended=heard.set_result
        ) as session:
            await session.execute("wal_level", {})
            await terminate(isolated)
            async with asyncio.timeout(5):
                assert await heard == address(isolated)
            assert await session.fetch(scalar_row, "wal_level", {}) == "logical"

    asyncio.run(scenario())


def test_a_session_that_is_ended_in_a_statement_hears_it_too(isolated: Isolated) -> None:
    async def scenario() -> None:
        heard = asyncio.get_running_loop().create_future()
        async with Session(
            lambda: isolated.database_url, name=isolated.name, slot="none", ended=heard.set_result
        ) as session:
            with psycopg.connect(isolated.database_url) as connection:
                connection.execute("LOCK TABLE relay.checkpoint")
                asking = asyncio.create_task(session.execute("slot_checkpoint", {"name": "relay"}))
                while not connection.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():
                    await asyncio.wait([asking], timeout=0.05)
                await terminate(isolated)
                with pytest.raises(SourceUnavailable):
                    await asking
            assert heard.done()

    asyncio.run(scenario())


def test_a_session_that_is_terminated_alone_is_no_shutdown(isolated: Isolated) -> None:
    async def scenario() -> None:
        shutdown, answered = Shutdown(), asyncio.Event()
        watch = ShutdownWatch(shutdown.announce)

        def ended(where: Address) -> None:
            watch.ended(where)
            answered.set()

        async with Session(lambda: isolated.database_url, name=isolated.name, slot="none", ended=ended) as session:
            await session.execute("wal_level", {})
            await terminate(isolated)
            await answered.wait()
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await shutdown.announced()

    asyncio.run(scenario())


def test_a_server_that_runs_takes_sessions_and_one_that_is_gone_does_not(isolated: Isolated) -> None:
    (free,) = ports.free(1)
    assert asyncio.run(takes_sessions(address(isolated)))
    assert not asyncio.run(takes_sessions(Address("127.0.0.1", free)))


def test_a_server_that_shuts_down_takes_no_sessions(sandbox: Sandbox, ready: Isolated) -> None:
    """The walsender of a client that confirms nothing keeps the server in its shutdown."""
    where = address(ready)
    stopping = threading.Thread(target=sandbox.postgres.stop)
    try:
        with held(ready):
            stopping.start()
            until(lambda: not asyncio.run(takes_sessions(where)), what="it shuts down", seconds=10)
            assert stopping.is_alive()
        stopping.join()
    finally:
        sandbox.postgres.start()
