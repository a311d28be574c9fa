"""The sessions of handlers in transactions: what one leaves, ends or cannot get, and what the next one finds.

Each test runs with handlers in threads and with handlers on the loop.
"""

import asyncio
import contextlib
import time
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from consumers.handlers.outcomes import Applied, Unfinished
from consumers.handlers.transactions.connections import TransactionEnded
from sandbox import Isolated
from tests.integration.consumers.handlers.transactions.transacting import (
    BOTH,
    Connection,
    Do,
    Run,
    do,
    end_sessions,
    new,
    one,
    recording,
    scene,
)
from tests.integration.consumers.two_workers import Bench


@BOTH
@pytest.mark.parametrize("then", ["returns", "raises"])
def test_the_next_handler_finds_a_clean_session(isolated: Isolated, kind: str, then: str) -> None:
    pids: list[int] = []

    async def leave_all(connection: Connection) -> None:
        pids.append(await one(connection, "SELECT pg_backend_pid()"))
        await connection.execute("CREATE TEMP TABLE left_behind ON COMMIT PRESERVE ROWS AS SELECT 1 AS i")
        await connection.execute("SELECT set_config('app.tenant', 'A', false), pg_advisory_lock(4712)")
        await connection.execute("SET statement_timeout = '9s'; SET search_path = demo; SET SESSION lock_timeout = 7")
        await connection.execute("LISTEN somebody; PREPARE mine AS SELECT 1")
        await connection.execute("DECLARE kept CURSOR WITH HOLD FOR SELECT generate_series(1, 3)")
        connection.prepare_threshold = 0
        await connection.execute("SELECT %s::int", [1])
        connection.row_factory = dict_row
        connection.adapters.register_dumper(UUID, psycopg.types.string.StrDumper)
        connection.add_notice_handler(lambda _: None)
        if then == "raises":
            raise LookupError

    async def look(connection: Connection) -> None:
        pids.append(await one(connection, "SELECT pg_backend_pid()"))
        assert await one(connection, "SELECT to_regclass('pg_temp.left_behind') IS NULL")
        assert await one(connection, "SELECT coalesce(current_setting('app.tenant', true), '') = ''")
        for name in ("statement_timeout", "search_path", "lock_timeout"):
            cursor = await connection.execute("SELECT setting = reset_val FROM pg_settings WHERE name = %s", [name])
            assert await cursor.fetchone() == (True,), name
        assert await one(connection, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        assert await one(connection, "SELECT count(*) FROM pg_listening_channels()") == 0
        assert await one(connection, "SELECT count(*) FROM pg_prepared_statements") == 0
        assert await one(connection, "SELECT string_agg(name, ',') FROM pg_cursors") in {
            "consumers_task",
            "consumers_task,",
        }
        connection.prepare_threshold = 0
        await connection.execute("SELECT %s::int", [1])

    async def scenario(bench: Bench, run: Run) -> None:
        task = await new(bench)
        with contextlib.suppress(LookupError):
            assert await run(task, leave_all) == Applied()
        for _ in range(2):
            assert await run(await new(bench), look) == Applied()
        assert len(set(pids)) == 1

    scene(isolated, kind, scenario)


@BOTH
def test_a_connection_that_a_handler_kept_does_nothing_after_it(isolated: Isolated, kind: str) -> None:
    kept: list[Connection] = []

    async def keep(connection: Connection) -> None:
        kept.append(connection)

    async def use(_: Connection) -> None:
        with pytest.raises(TransactionEnded, match="has ended; use the one that is passed in"):
            await kept[0].execute("SELECT 1")
        await kept[0].close()

    async def scenario(bench: Bench, run: Run) -> None:
        assert await run(await new(bench), keep) == Applied()
        assert await run(await new(bench), use) == Applied()

    scene(isolated, kind, scenario)


async def _terminates_itself(connection: Connection) -> None:
    await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def _closes(connection: Connection) -> None:
    await connection.close()


async def _closes_and_raises(connection: Connection) -> None:
    await connection.close()
    raise LookupError


async def _idles_too_long(connection: Connection) -> None:
    await connection.execute("SET idle_in_transaction_session_timeout = 1")
    deadline = time.monotonic() + 20
    with contextlib.suppress(psycopg.Error):
        while time.monotonic() < deadline:  # until the server has ended the session
            time.sleep(0.05)  # noqa: ASYNC251 - idle in its transaction
            await connection.execute("SELECT 1")
    raise LookupError


@BOTH
@pytest.mark.parametrize("act", [_terminates_itself, _closes, _closes_and_raises, _idles_too_long])
def test_a_session_that_the_handlers_own_doing_ended_counts_as_an_attempt(
    isolated: Isolated, kind: str, act: Do
) -> None:
    async def scenario(bench: Bench, run: Run) -> None:
        assert await run(await new(bench), act) == Unfinished("", started=True)
        task = await new(bench)
        assert await run(task, recording(task)) == Applied()

    scene(isolated, kind, scenario)


@BOTH
def test_sessions_that_ended_while_they_were_idle_are_replaced_before_the_handler(
    isolated: Isolated, kind: str
) -> None:
    async def scenario(bench: Bench, run: Run) -> None:
        tasks = [await new(bench) for _ in range(4)]
        for _ in range(2):
            first, second, *tasks = tasks
            outcomes = await asyncio.gather(run(first, _waits), run(second, _waits))
            assert set(outcomes) == {Applied()}
            await end_sessions(bench)

    async def _waits(connection: Connection) -> None:
        await connection.execute("SELECT pg_sleep(0.3)")  # both at once

    scene(isolated, kind, scenario, size=2)


@BOTH
def test_a_handler_that_gets_no_session_in_time_has_not_started(isolated: Isolated, kind: str) -> None:
    async def scenario(bench: Bench, run: Run) -> None:
        blocked, task = await new(bench), await new(bench)
        entered, leave = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        async def stay(_: Connection) -> None:
            loop.call_soon_threadsafe(entered.set)
            if kind == "loop":
                await leave.wait()
            else:
                asyncio.run_coroutine_threadsafe(leave.wait(), loop).result()

        staying = asyncio.create_task(run(blocked, stay))
        await entered.wait()
        assert await run(task, _closes) == Unfinished("", started=False)
        leave.set()
        assert await staying == Applied()

    scene(isolated, kind, scenario, patience=2)


@BOTH
def test_sessions_that_cannot_write_are_given_up_and_opened_anew(isolated: Isolated, kind: str) -> None:
    async def scenario(bench: Bench, run: Run) -> None:
        (name,) = await bench.ask("SELECT current_database()")
        kept, refused, again = [await new(bench) for _ in range(3)]
        assert await run(kept, recording(kept)) == Applied()
        await do(bench, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await end_sessions(bench)
        assert await run(refused, recording(refused)) == Unfinished("", started=False)
        await do(
            bench,
            "SET default_transaction_read_only = off",
            f"ALTER DATABASE {name} RESET default_transaction_read_only",
        )
        found = await run(again, recording(again))
        if isinstance(found, Unfinished):  # an attempt to connect that had begun before
            found = await run(again, recording(again))
        assert found == Applied()

    scene(isolated, kind, scenario, patience=2)
