"""Transactions: a handler's effects commit with its task's completion or not at all, whatever the handler does.

Each test runs with handlers in threads and with handlers on the loop: a handler here is a list of statements.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from consumers.connecting import address
from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Applied, ClaimLost, Unfinished
from consumers.handlers.transactions import sessions
from consumers.handlers.transactions.connections import TransactionEnded
from consumers.handlers.transactions.transactions import AsyncTransactions, Transactions
from outboxkit import sql
from sandbox import Isolated
from tests.integration.consumers.two_workers import Bench, claimed, play

Connection: TypeAlias = Any  # psycopg's, of either kind
Do = Callable[[Connection], Awaitable[Any]]
"""A handler; it awaits what a connection's methods return."""
Run = Callable[[Task, Do], Coroutine[Any, Any, Applied | ClaimLost | Unfinished]]

BOTH = pytest.mark.parametrize("kind", ["thread", "loop"])


class _Awaited:
    """A connection of a thread whose methods are awaited, so that a handler here is written once."""

    def __init__(self, inner: object) -> None:
        self.__dict__["inner"] = inner

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever psycopg has there
        found = getattr(self.inner, name)
        if name in {"execute", "commit", "rollback", "close", "fetchone"}:

            async def call(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - as psycopg has them
                value = found(*args, **options)
                return _Awaited(value) if name == "execute" else value

            return call
        return found

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.inner, name, value)


@contextlib.asynccontextmanager
async def running(kind: str, url: str, *, size: int = 1, patience: float = 10) -> AsyncIterator[Run]:
    def where() -> str:
        return address(url, name="handlers")

    if kind == "loop":
        async with AsyncTransactions(where, size=size, timeout=patience) as transactions:

            async def run(task: Task, do: Do) -> Applied | ClaimLost | Unfinished:
                async def call(connection: psycopg.AsyncConnection[Any]) -> str | None:
                    await do(connection)
                    return None

                return await transactions.run(task, call)

            yield run
    else:
        with Transactions(where, size=size, timeout=patience) as in_threads:

            async def run(task: Task, do: Do) -> Applied | ClaimLost | Unfinished:
                def call(connection: psycopg.Connection[Any]) -> str | None:
                    _finish(do(_Awaited(connection)))
                    return None

                return await asyncio.to_thread(in_threads.run, task, call)

            yield run


def _finish(handler: Awaitable[Any]) -> None:
    """Run a handler that waits for nothing but its connection."""
    steps = handler.__await__()
    with contextlib.suppress(StopIteration):
        while True:
            next(steps)


async def effect(connection: Connection, task: Task) -> None:
    await connection.execute(
        sql.example("effect_insert"),
        {"task_id": task.id, "version": task.version, "worker": task.claimed_by, "payload": "{}"},
    )


def recording(task: Task) -> Do:
    return lambda connection: effect(connection, task)


async def one(connection: Connection, statement: str) -> Any:  # noqa: ANN401 - whatever it returns
    (value,) = await (await connection.execute(statement)).fetchone()
    return value


def scene(
    isolated: Isolated,
    kind: str,
    scenario: Callable[[Bench, Run], Awaitable[None]],
    *,
    size: int = 1,
    patience: float = 10,
) -> None:
    async def run(bench: Bench) -> None:
        await do(bench, sql.example("effect"))
        async with running(kind, bench.url, size=size, patience=patience) as transactions:
            await scenario(bench, transactions)

    play(isolated, run)


async def do(bench: Bench, *statements: str) -> None:
    async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as own:
        for statement in statements:
            await own.execute(statement.encode())


async def end_sessions(bench: Bench) -> None:
    """End the sessions of handlers, as a restart of the server does."""
    await bench.ask(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = 'handlers'"
        " AND datname = current_database()"
    )


async def new(bench: Bench) -> Task:
    return await claimed(bench.one, await bench.submit())


async def effects(bench: Bench) -> int:
    (count,) = await bench.ask("SELECT count(*) FROM demo.effect")
    return int(count)


@BOTH
def test_effects_commit_with_the_completion_or_not_at_all(isolated: Isolated, kind: str) -> None:
    async def scenario(bench: Bench, run: Run) -> None:
        kept, late = await new(bench), await new(bench)
        await bench.expire(late.id)
        await bench.two.release_expired()
        outcomes = [await run(task, recording(task)) for task in (kept, late)]
        assert outcomes == [Applied(), ClaimLost()]
        assert await bench.ask("SELECT array_agg((task_id, version)::text) FROM demo.effect") == ([f"({kept.id},2)"],)
        assert await bench.state(kept.id) == ("completed", 3)
        assert await bench.state(late.id) == ("pending", 3)

    scene(isolated, kind, scenario)


ENDINGS = [
    "COMMIT",
    "END",
    "COMMIT AND CHAIN",
    "ROLLBACK",
    "ABORT",
    "ROLLBACK AND CHAIN",
    "INSERT INTO demo.other VALUES (1); COMMIT; INSERT INTO demo.other VALUES (2)",
    "/* so */ ROLLBACK; INSERT INTO demo.other VALUES (3)",
    "SELECT '; x'; rollback work; BEGIN; INSERT INTO demo.other VALUES (4); COMMIT",
    "PREPARE TRANSACTION 'mine'",
    "DO $$ BEGIN INSERT INTO demo.other VALUES (5); COMMIT; END $$",
    "CALL demo.commits()",
]


@BOTH
@pytest.mark.parametrize("swallowed", ["", "swallowed"])
def test_a_handler_that_ends_its_transaction_by_sql_commits_nothing(
    isolated: Isolated, kind: str, swallowed: str
) -> None:
    async def scenario(bench: Bench, run: Run) -> None:
        await do(
            bench,
            "CREATE TABLE demo.other (i int)",
            "CREATE PROCEDURE demo.commits() LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO demo.other VALUES (6); COMMIT; END $$",
        )
        for ending in ENDINGS:
            task = await new(bench)

            async def handler(connection: Connection, task: Task = task, ending: str = ending) -> None:
                await effect(connection, task)
                try:
                    await connection.execute(ending)
                except psycopg.Error:
                    if not swallowed:
                        raise
                with contextlib.suppress(psycopg.Error):
                    await connection.execute("INSERT INTO demo.other VALUES (7)")

            with pytest.raises(psycopg.Error):
                await run(task, handler)
            assert await effects(bench) == 0, ending
            assert await bench.ask("SELECT array_agg(i) FROM demo.other") == (None,), ending
            assert await bench.ask("SELECT count(*) FROM pg_prepared_xacts") == (0,), ending
            assert await bench.state(task.id) == ("running", 2), ending
        task = await new(bench)
        assert await run(task, recording(task)) == Applied()

    scene(isolated, kind, scenario)


@BOTH
def test_what_the_client_cannot_see_is_refused_by_postgres_or_noticed_at_the_end(isolated: Isolated, kind: str) -> None:
    async def scenario(bench: Bench, run: Run) -> None:
        for statement in (b"COMMIT", b"ROLLBACK", b"ROLLBACK; BEGIN", b"ROLLBACK AND CHAIN"):
            task = await new(bench)

            async def handler(connection: Connection, task: Task = task, statement: bytes = statement) -> None:
                await effect(connection, task)
                connection.pgconn.exec_(statement)  # past everything of psycopg

            with pytest.raises(TransactionEnded, match="has ended its transaction"):
                await run(task, handler)
            assert await effects(bench) == 0
            assert await bench.state(task.id) == ("running", 2)

    scene(isolated, kind, scenario)


@BOTH
def test_commit_as_sql_says_what_to_do_instead(isolated: Isolated, kind: str) -> None:
    async def scenario(bench: Bench, run: Run) -> None:
        task = await new(bench)
        with pytest.raises(psycopg.Error) as raised:
            await run(task, lambda connection: connection.execute("COMMIT"))
        assert raised.value.sqlstate == "TK010"
        assert "a task's handler sent COMMIT" in str(raised.value)
        assert "Leave COMMIT out" in str(raised.value.diag.message_hint)
        for act in ("commit", "rollback"):

            async def caught(connection: Connection, act: str = act) -> None:
                await effect(connection, task)
                with contextlib.suppress(TransactionEnded):
                    await getattr(connection, act)()

            with pytest.raises(TransactionEnded, match="in a handler's transaction"):
                await run(task, caught)
            assert await effects(bench) == 0

    scene(isolated, kind, scenario)


@BOTH
def test_savepoints_and_words_that_only_look_like_an_end_are_the_handlers(isolated: Isolated, kind: str) -> None:
    async def scenario(bench: Bench, run: Run) -> None:
        task = await new(bench)

        async def handler(connection: Connection) -> None:
            await effect(connection, task)
            await connection.execute("SAVEPOINT mine; DELETE FROM demo.effect; ROLLBACK TO SAVEPOINT mine")
            await connection.execute("SELECT CASE WHEN true THEN 1 END, '; ROLLBACK; ' -- ; abort\n, $$; abort$$")
            await connection.execute("SAVEPOINT b")
            await connection.execute("ROLLBACK WORK TO b")

        assert await run(task, handler) == Applied()
        assert await effects(bench) == 1

    scene(isolated, kind, scenario)


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

    scene(isolated, kind, scenario, patience=0.2)


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
        assert await run(again, recording(again)) == Applied()

    scene(isolated, kind, scenario, patience=2)


@BOTH
def test_an_error_of_the_commit_itself_comes_out(isolated: Isolated, kind: str) -> None:
    async def scenario(bench: Bench, run: Run) -> None:
        await do(
            bench,
            "CREATE TABLE demo.known (i int PRIMARY KEY)",
            "CREATE TABLE demo.late (i int REFERENCES demo.known DEFERRABLE INITIALLY DEFERRED)",
        )
        task = await new(bench)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            await run(task, lambda connection: connection.execute("INSERT INTO demo.late VALUES (1)"))
        assert await bench.state(task.id) == ("running", 2)
        assert await run(task, recording(task)) == Applied()

    scene(isolated, kind, scenario)


@BOTH
def test_an_error_after_the_commit_is_no_failure_of_the_task(
    isolated: Isolated, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = sessions.commit
    monkeypatch.setattr(sessions, "commit", lambda session: f"{commit(session)}; SELECT 1 / 0")

    async def scenario(bench: Bench, run: Run) -> None:
        for count in (1, 2):
            task = await new(bench)
            assert await run(task, recording(task)) == Applied()
            assert await bench.state(task.id) == ("completed", 3)
            assert await effects(bench) == count

    scene(isolated, kind, scenario)


@BOTH
def test_any_exception_of_a_handler_comes_out_unchanged(isolated: Isolated, kind: str) -> None:
    async def scenario(bench: Bench, run: Run) -> None:
        for error in (
            (LookupError("this"), KeyboardInterrupt(), SystemExit(3)) if kind == "thread" else (LookupError(),)
        ):

            async def handler(_: Connection, error: BaseException = error) -> None:
                raise error

            with pytest.raises(type(error)) as raised:
                await run(await new(bench), handler)
            assert raised.value is error

    scene(isolated, kind, scenario)


def test_a_thread_that_raises_stop_iteration_fails_with_it(isolated: Isolated) -> None:
    def call(_: psycopg.Connection[Any]) -> str | None:
        nothing: Iterator[str] = iter(())
        return next(nothing)

    async def scenario(bench: Bench) -> None:
        task = await new(bench)
        raised: list[BaseException] = []

        def run() -> None:
            try:
                transactions.run(task, call)
            except StopIteration as error:
                raised.append(error)

        with Transactions(lambda: bench.url, size=1, timeout=5) as transactions:
            await asyncio.to_thread(run)
        assert [type(error) for error in raised] == [StopIteration]

    play(isolated, scenario)


def test_a_cancelled_handler_on_the_loop_leaves_nothing_and_its_session_serves_the_next(isolated: Isolated) -> None:
    async def scenario(bench: Bench, run: Run) -> None:
        slow, task = await new(bench), await new(bench)

        async def sleep(connection: Connection) -> None:
            await effect(connection, slow)
            entered.set()
            await connection.execute("SELECT pg_sleep(60)")

        entered = asyncio.Event()
        running = asyncio.create_task(run(slow, sleep))
        await entered.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await effects(bench) == 0
        assert await run(task, recording(task)) == Applied()

    scene(isolated, "loop", scenario)
