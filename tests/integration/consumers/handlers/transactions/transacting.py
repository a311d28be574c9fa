"""Handlers in transactions, for tests: each is written once, and runs in a thread or on the loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import psycopg
import pytest

from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Applied, ClaimLost, Unfinished
from consumers.handlers.transactions.transactions import AsyncTransactions, Transactions
from consumers.postgres.connecting import address
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
