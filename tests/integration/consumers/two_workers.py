"""Two workers on one database, and what a test does between them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg

from consumers.claims.claims import Claims
from consumers.claims.verdicts import Claimed, Verdict, judge
from consumers.handlers.declaring.task import Task
from consumers.postgres.database import Database
from outboxkit.amqp.format import TaskReference
from sandbox import Isolated

Row = tuple[Any, ...]


class Bench:
    """Two workers with a connection each, and the test's own."""

    def __init__(self, url: str, own: psycopg.AsyncConnection[Any], one: Claims, two: Claims) -> None:
        self.url = url
        self._own = own
        self.one = one
        self.two = two

    async def ask(self, statement: str, *parameters: object) -> Row:
        cursor = await self._own.execute(statement.encode(), parameters)
        row = await cursor.fetchone()
        assert row is not None
        return tuple(row)

    async def submit(self, **columns: object) -> TaskReference:
        (task_id,) = await self.ask("SELECT tasks.submit(%s, %s::jsonb)", columns.get("type", "t"), '{"n": 1}')
        return TaskReference(str(task_id), 1)

    async def state(self, task_id: UUID | str) -> tuple[str, int]:
        status, version = await self.ask("SELECT status, version FROM tasks.task WHERE id = %s", task_id)
        return status, version

    async def announced(self, task_id: UUID) -> list[int]:
        (versions,) = await self.ask(
            "SELECT array_agg(aggregate_version ORDER BY seq) FROM outbox.event"
            " WHERE aggregate_id = %s::text AND aggregate_type = 'task' AND event_type = 'pending'",
            task_id,
        )
        return list(versions)

    async def expire(self, task_id: UUID) -> None:
        await self.ask(
            "UPDATE tasks.task SET lease_until = clock_timestamp() - interval '1 ms' WHERE id = %s RETURNING id",
            task_id,
        )

    async def cancel(self, task_id: UUID | str) -> None:
        await self.ask("SELECT tasks.cancel(%s)", task_id)


def play(isolated: Isolated, scenario: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with bench(isolated.database_url) as made, asyncio.timeout(30):
            await scenario(made)

    asyncio.run(run())


@asynccontextmanager
async def bench(url: str) -> AsyncIterator[Bench]:
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as own,
        Database(lambda: url, name="one") as one,
        Database(lambda: url, name="two") as two,
    ):
        yield Bench(url, own, Claims(one, worker="one", lease=30), Claims(two, worker="two", lease=30))


async def claim(claims: Claims, *references: TaskReference, known: Iterable[TaskReference] = ()) -> list[Verdict]:
    rows = await claims.claim(dict.fromkeys(references))
    return [judge(reference, rows[reference], worker=claims.worker, known=frozenset(known)) for reference in references]


async def claimed(claims: Claims, reference: TaskReference) -> Task:
    (verdict,) = await claim(claims, reference)
    assert isinstance(verdict, Claimed)
    return verdict.task
