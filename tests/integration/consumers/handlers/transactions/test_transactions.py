"""Transactions: a handler's effects commit with its task's completion or not at all, whatever the handler does.

Each test runs with handlers in threads and with handlers on the loop: a handler here is a list of statements.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Applied, ClaimLost
from consumers.handlers.transactions import sessions
from consumers.handlers.transactions.connections import TransactionEnded
from consumers.handlers.transactions.transactions import Transactions
from sandbox import Isolated
from tests.integration.consumers.handlers.transactions.transacting import (
    BOTH,
    Connection,
    Run,
    do,
    effect,
    effects,
    new,
    recording,
    scene,
)
from tests.integration.consumers.two_workers import Bench, play


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
