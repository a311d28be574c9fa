"""Second locks as advisory locks: they exclude each other, and end with their connection."""

import asyncio
import signal
from collections.abc import Iterator, MutableMapping
from contextlib import AsyncExitStack
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from structlog.testing import capture_logs

import sandbox
from consumers.second_lock.advisory import AdvisoryLocks, key
from tests.integration.consumers.second_lock.consumer import comes, consumer, holding, on_a_loop

LEASE = 2.0
LONG = 60.0
OURS: LiteralString = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'second lock'"


class Watch:
    """A connection beside those of the locks."""

    def __init__(self, url: str, connection: psycopg.Connection[Any]) -> None:
        self.url = url
        self._connection = connection

    def rows(self, statement: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        """Return what `statement` returns."""
        return self._connection.execute(statement, parameters).fetchall()

    def execute(self, statement: str) -> None:
        """Run a statement with a name in it."""
        self._connection.execute(statement.encode())

    @property
    def database(self) -> str:
        return self._connection.info.dbname

    def locks(self, *, lease: float = LONG) -> AdvisoryLocks:
        return AdvisoryLocks(lambda: self.url, name="second lock", lease=lease)


@pytest.fixture
def watch(isolated: sandbox.Isolated) -> Iterator[Watch]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        yield Watch(isolated.database_url, connection)


def events(log: list[MutableMapping[str, Any]]) -> list[str]:
    return [line["event"] for line in log]


@on_a_loop
async def test_one_handler_of_a_task_runs_at_a_time(watch: Watch) -> None:
    task, other = uuid4(), uuid4()
    async with consumer(watch.locks(), lease=LONG) as first, consumer(watch.locks(), lease=LONG) as second:
        async with first.lock.hold_async(task) as held:
            assert held
            assert not await second.held(task)
            assert await second.held(other)
        assert await second.held(task)
        assert (first.counted, second.counted) == ({"held": 1}, {"held": 2, "busy": 1})
        assert watch.rows(f"SELECT count(*) {OURS}") == [(2,)]  # connections are used again
    assert watch.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


@on_a_loop
async def test_an_application_s_advisory_lock_with_the_same_key_only_delays(watch: Watch) -> None:
    task = uuid4()
    watch.rows("SELECT pg_advisory_lock(%s)", key(task))
    async with consumer(watch.locks(), lease=LONG) as one:
        assert not await one.held(task)
        watch.rows("SELECT pg_advisory_unlock(%s)", key(task))
        assert await one.held(task)


@on_a_loop
async def test_a_held_lock_holds_back_no_vacuum_and_outlives_a_shorter_limit_of_idle_transactions(watch: Watch) -> None:
    watch.execute(
        f"ALTER DATABASE {watch.database} SET idle_in_transaction_session_timeout = '200ms';"
        f"ALTER DATABASE {watch.database} SET default_transaction_isolation = 'repeatable read'"
    )
    idle: LiteralString = f"SELECT clock_timestamp() - state_change > '250ms', backend_xid, backend_xmin {OURS}"
    async with consumer(watch.locks(), lease=LONG) as one, one.lock.hold_async(uuid4()):
        await comes(lambda: watch.rows(idle)[0][0], "it was idle for longer than the limit")
        assert watch.rows(idle) == [(True, None, None)]
    assert one.counted == {"held": 1}


@on_a_loop
async def test_a_lock_outlives_its_limit_while_its_handler_runs(watch: Watch) -> None:
    async with consumer(watch.locks(lease=LEASE), lease=LEASE) as one, one.lock.hold_async(uuid4()):
        await asyncio.sleep(LEASE * 2)  # what is waited for is that nothing happens
        await comes(lambda: watch.rows(f"SELECT state {OURS}") == [("idle in transaction",)], "it is held")
        assert one.counted == {"held": 1}


@on_a_loop
async def test_a_connection_that_ends_under_a_handler_is_said_and_changes_nothing_else(watch: Watch) -> None:
    tasks = [uuid4() for _ in range(4)]
    with capture_logs() as log:
        locks = watch.locks(lease=LEASE)
        async with consumer(locks, lease=LEASE, name="advisory") as one, AsyncExitStack() as stack:
            await one.holds(stack, *tasks)
            watch.rows(f"SELECT pg_terminate_backend(pid) {OURS}")
            await one.counts(held=4, lost=4)  # before the handlers end
            assert await one.held(tasks[0])
    assert events(log) == ["second lock lost while handlers ran"]
    assert (log[0]["tasks"], log[0]["lock"]) == (4, "advisory")


@on_a_loop
async def test_a_connection_that_was_closed_while_idle_is_no_incident(watch: Watch) -> None:
    with capture_logs() as log:
        async with consumer(watch.locks(), lease=LONG) as one:
            assert await one.held(uuid4())
            watch.rows(f"SELECT pg_terminate_backend(pid, 10000) {OURS}")
            assert await one.held(uuid4())
            assert one.counted == {"held": 2}
    assert log == []


@on_a_loop
async def test_handlers_go_on_while_postgres_takes_no_connections(watch: Watch) -> None:
    name = Identifier(watch.database)
    with capture_logs() as log, psycopg.connect(watch.url, dbname="postgres", autocommit=True) as elsewhere:
        async with consumer(watch.locks(), lease=LONG) as one:
            elsewhere.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            try:
                watch.rows(f"SELECT pg_terminate_backend(pid, 10000) {OURS}")
                assert [await one.held(uuid4()) for _ in range(5)] == [True] * 5
            finally:
                elsewhere.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
            await comes(lambda: len(log) > 1, "it is back")
            assert await one.held(uuid4())
            assert one.counted == {"without": 5, "held": 1}
    assert events(log) == ["second lock not available", "second lock available again"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@on_a_loop
async def test_a_holder_that_is_killed_or_stands_still_is_replaced(watch: Watch, number: signal.Signals) -> None:
    task = uuid4()
    async with consumer(watch.locks(), lease=LONG) as one:
        # The killed one is replaced long before its lease would end.
        with holding("advisory", watch.url, task, lease=LONG if number == signal.SIGKILL else 3) as process:
            assert not await one.held(task)
            process.send_signal(number)
            holders: LiteralString = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'holder'"
            await comes(lambda: not watch.rows(holders), "Postgres ends the session")
            assert await one.held(task)
