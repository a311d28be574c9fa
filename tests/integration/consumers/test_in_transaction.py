"""Handlers in the transaction of their task's completion: the effects commit with it, or not at all."""

import asyncio
from typing import Any

import psycopg

from consumers.handlers.execution import Execution
from consumers.handlers.failures import Failures
from consumers.handlers.outcomes import Applied, ClaimLost, Failed, Unfinished
from consumers.handlers.registry import Registry
from consumers.handlers.retries import Policy
from consumers.handlers.task import Task
from consumers.handlers.transactions import Transactions
from outboxkit import sql
from sandbox import Isolated
from tests.integration.consumers.two_workers import Bench, claimed, play


def test_a_handler_in_a_transaction_commits_its_effects_with_the_completion_or_not_at_all(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as own:
            await own.execute(sql.example("effect"))
        kept, late = await claimed(bench.one, await bench.submit()), await claimed(bench.one, await bench.submit())
        await bench.expire(late.id)
        await bench.two.release_expired()
        with _connections(bench.url) as connections:
            execute = _execution(_recording(), connections)
            outcomes = [await asyncio.to_thread(execute, task) for task in (kept, late)]
        assert outcomes == [Applied(), ClaimLost()]
        assert await bench.ask("SELECT array_agg((task_id, version)::text) FROM demo.effect") == ([f"({kept.id},2)"],)
        assert await bench.state(kept.id) == ("completed", 3)
        assert await bench.state(late.id) == ("pending", 3)

    play(isolated, scenario)


def test_a_handler_that_raises_or_commits_by_itself_in_a_transaction_leaves_no_effect(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as own:
            await own.execute(sql.example("effect"))
        registry = _recording()

        @registry.task("raises", in_transaction=True)
        def raises(task: Task, connection: psycopg.Connection[Any]) -> None:
            _record(task, connection)
            raise SystemExit(3)

        @registry.task("commits", in_transaction=True)
        def commits(task: Task, connection: psycopg.Connection[Any]) -> None:
            _record(task, connection)
            connection.commit()

        @registry.task("result", in_transaction=True)
        def result(task: Task, connection: psycopg.Connection[Any]) -> str:
            _record(task, connection)
            return "\x00"

        with _connections(bench.url) as connections:
            execute = _execution(registry, connections)
            for type_, error in (
                ("raises", "SystemExit: 3"),
                ("commits", "TransactionEnded: "),
                ("result", "ValueError: "),
            ):
                task = await claimed(bench.one, await bench.submit(type=type_))
                outcome = await asyncio.to_thread(execute, task)
                assert isinstance(outcome, Failed)
                assert outcome.error.startswith(error)
        assert await bench.ask("SELECT count(*) FROM demo.effect") == (0,)

    play(isolated, scenario)


def test_a_connection_that_breaks_under_a_handler_is_no_failure_of_the_task(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        registry = Registry()

        @registry.task("t", in_transaction=True)
        def cut(task: Task, connection: psycopg.Connection[Any]) -> None:
            del task
            with psycopg.connect(bench.url) as other:
                other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
            connection.execute("SELECT 1")

        with _connections(bench.url) as connections:
            execute = _execution(registry, connections)
            task = await claimed(bench.one, await bench.submit())
            assert await asyncio.to_thread(execute, task) == Unfinished("given back", started=True)

    play(isolated, scenario)


def _record(task: Task, connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        sql.example("effect_insert"),
        {"task_id": task.id, "version": task.version, "worker": task.claimed_by, "payload": "{}"},
    )


def _recording() -> Registry:
    registry = Registry()
    registry.task("t", in_transaction=True)(_record)
    return registry


def _connections(url: str) -> Transactions:
    return Transactions(lambda: url, size=1, timeout=10)


def _execution(registry: Registry, transactions: Transactions) -> Execution:
    policy = Policy(attempts=None, base=1, factor=2, cap=100, jitter=0)
    return Execution(registry, transactions, Failures(registry, policy))
