"""Schedulers of several consumers in this process, on one database."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, LiteralString
from uuid import uuid4

import psycopg

from consumers.maintenance.declaring.planning import plan
from consumers.maintenance.declaring.registry import Jobs
from consumers.maintenance.running.leadership import Leadership
from consumers.maintenance.running.locks import Locks
from consumers.maintenance.running.scheduler import Scheduler
from consumers.postgres.database import Database
from consumers.settings import ConsumerSettings
from consumers.watching.metrics import Metrics
from sandbox import Isolated


class Replica:
    """A consumer's scheduler; `metrics` are its own."""

    def __init__(self, database: Database, jobs: Jobs, settings: ConsumerSettings, *, grace: float) -> None:
        self.name = f"replica {uuid4().hex[:6]}"
        self.metrics = Metrics(frozenset())
        locks = Locks(database, holder=self.name)
        leader = settings.scheduler == "leader"
        leadership = Leadership(locks, self.metrics, lease=settings.lease) if leader else None
        self.scheduler = Scheduler(
            [(job, plan(job, settings)) for job in jobs], locks, self.metrics,
            threads=settings.job_threads, grace=grace, leadership=leadership,
        )  # fmt: skip
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.scheduler.run(self.stop))

    async def end(self) -> None:
        """Stop it as SIGTERM does; raises what it raises."""
        self.stop.set()
        await self.task

    def counted(self, job: str, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("consumers_jobs_total", {"name": job, "outcome": outcome}) or 0

    @property
    def held(self) -> float:
        return self.metrics.registry.get_sample_value("consumers_locks_held") or 0


class Stage:
    """A database, and replicas on it."""

    def __init__(self, url: str, connection: psycopg.AsyncConnection[Any]) -> None:
        self._url = url
        self._connection = connection
        self.replicas: list[Replica] = []
        self.databases: list[Database] = []

    async def replica(self, jobs: Jobs, *, grace: float = 10, **settings: object) -> Replica:
        """Start a scheduler of `jobs` on a connection of its own."""
        database = await Database(lambda: self._url, name=f"replica {len(self.databases)}").__aenter__()
        self.databases.append(database)
        wanted = {"database_url": self._url, "amqp_url": "amqp://localhost", **settings}
        made = Replica(database, jobs, ConsumerSettings(**wanted), grace=grace)  # type: ignore[arg-type]
        self.replicas.append(made)
        return made

    async def rows(self, statement: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        cursor = await self._connection.execute(statement, parameters)
        return await cursor.fetchall()

    async def lock(self, name: str) -> tuple[Any, ...] | None:
        """Return a lock's epoch, whether it has ended, and how long it lasts in seconds."""
        rows = await self.rows(
            "SELECT epoch, ended_at IS NOT NULL, extract(epoch FROM locked_until - started_at)::float8"
            " FROM tasks.lock WHERE name = %s",
            name,
        )
        return rows[0] if rows else None


def play(isolated: Isolated, scenario: Callable[[Stage], Coroutine[Any, Any, None]], *, seconds: float = 60) -> None:
    async def run() -> None:
        async with staged(isolated.database_url) as stage, asyncio.timeout(seconds):
            await scenario(stage)

    asyncio.run(run())


@asynccontextmanager
async def staged(url: str) -> AsyncIterator[Stage]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        stage = Stage(url, connection)
        try:
            yield stage
        finally:
            for replica in stage.replicas:
                replica.stop.set()
                await asyncio.wait([replica.task])
            for database in stage.databases:
                await database.__aexit__()
