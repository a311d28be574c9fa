"""Procrastinate's jobs: a process in the peer's own virtual environment.

What it does is the word after its name; its arguments are on standard input. `prepare` makes its schema and defers jobs
that do nothing. `work` runs its worker for those until SIGTERM; `apply` runs it for the jobs of events, of which each
is applied and noted, and makes the schema if it is not there. The settings are those that its documentation names for
throughput (docs/howto/production/concurrency.md): asynchronous tasks, 30 at once, and a connection for each. It listens
for new jobs, as it does unless told otherwise. It fetches one job at a time: this version has no batches.

A worker that is killed leaves the jobs that it was running in the state "doing". What the documentation tells users to
add for these is here, and no more (docs/howto/production/retry_stalled_jobs.md): a task that runs every ten minutes.
"""

import asyncio
import json
import logging
import os
import sys
import time
from typing import Any

import procrastinate
from psycopg_pool import AsyncConnectionPool

_CONCURRENCY = 30
_AT_ONCE = 1000
_APPLY = "BENCH_APPLY"
"""The variable with the statement that applies events."""


async def prepare(app: procrastinate.App, arguments: dict[str, Any]) -> None:
    """Make the schema, and defer jobs that do nothing."""
    task = app.task(name="bench")(_do_nothing)
    jobs = arguments.get("jobs", 0)
    async with app.open_async():
        await _make_schema(app)
        for first in range(0, jobs, _AT_ONCE):
            await task.batch_defer_async(*[{}] * min(_AT_ONCE, jobs - first))


async def work(app: procrastinate.App, _: dict[str, Any]) -> None:
    """Run the worker for jobs that do nothing."""
    app.task(name="bench")(_do_nothing)
    async with app.open_async():
        await app.run_worker_async(concurrency=_CONCURRENCY)


async def apply(app: procrastinate.App, arguments: dict[str, Any]) -> None:
    """Run the worker for the jobs of events."""
    pool = AsyncConnectionPool(
        arguments["database_url"], max_size=_CONCURRENCY, kwargs={"autocommit": True}, open=False
    )
    applying = _Applying(pool, os.environ[_APPLY], arguments["lines"])
    app.task(name="event")(applying.event)
    stalled = app.task(name="retry_stalled_jobs", queueing_lock="retry_stalled_jobs", pass_context=True)
    app.periodic(cron="*/10 * * * *")(stalled(_retry_stalled_jobs))
    _say_ready()
    async with pool, app.open_async():
        await _make_schema(app)
        await app.run_worker_async(concurrency=_CONCURRENCY)


class _Applying:
    """What the application does with an event."""

    def __init__(self, pool: AsyncConnectionPool, statement: str, lines: str) -> None:
        self._pool = pool
        self._statement = statement.encode()
        self._lines = os.open(lines, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    async def event(self, *, event_id: str, aggregate_id: str, version: int, number: int | None) -> None:
        """Apply one event, unless it is a backlog's, and note it."""
        arrived = time.time()
        if number is not None:
            async with self._pool.connection() as connection:
                await connection.execute(self._statement, {"aggregates": [aggregate_id], "versions": [version]})
        os.write(self._lines, f"{event_id} {arrived:.6f} {time.time():.6f}\n".encode())


async def _retry_stalled_jobs(context: procrastinate.JobContext, timestamp: int) -> None:
    del timestamp
    manager = context.app.job_manager
    for job in await manager.get_stalled_jobs():
        await manager.retry_job(job)


async def _make_schema(app: procrastinate.App) -> None:
    if not await app.check_connection_async():
        await app.schema_manager.apply_schema_async()


async def _do_nothing() -> None:
    pass


class _Started(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "action", "") == "start_worker":
            print("ready", flush=True)
            logging.getLogger(record.name).setLevel(logging.WARNING)


def _say_ready() -> None:
    """Print `ready` when the worker says that it starts; what it says about each job is not asked for."""
    logger = logging.getLogger("procrastinate.worker.worker")
    logger.setLevel(logging.INFO)
    logger.addHandler(_Started())


_ACTIONS = {"prepare": prepare, "work": work, "apply": apply}


def main(action: str, arguments: dict[str, Any]) -> None:
    """Do what the command line says."""
    connector = procrastinate.PsycopgConnector(conninfo=arguments["database_url"], max_size=_CONCURRENCY + 1)
    asyncio.run(_ACTIONS[action](procrastinate.App(connector=connector), arguments))


if __name__ == "__main__":
    main(sys.argv[1], json.load(sys.stdin))
