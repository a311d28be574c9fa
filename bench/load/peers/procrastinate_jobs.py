"""Procrastinate's jobs that do nothing: a process in the peer's own virtual environment.

Its arguments are on standard input. `prepare` makes its schema and defers jobs. `work` runs its worker until SIGTERM,
in the settings that its documentation names for throughput (docs/howto/production/concurrency.md): asynchronous tasks,
30 at once; and a connection for each.
"""

import asyncio
import json
import sys

import procrastinate

_AT_ONCE = 1000


async def do_nothing() -> None:
    """Do nothing."""


async def main(*, action: str, database_url: str, jobs: int, concurrency: int) -> None:
    """Do what `action` says."""
    connector = procrastinate.PsycopgConnector(conninfo=database_url, max_size=concurrency + 1)
    app = procrastinate.App(connector=connector)
    task = app.task(name="bench")(do_nothing)
    async with app.open_async():
        if action == "prepare":
            await app.schema_manager.apply_schema_async()
            for first in range(0, jobs, _AT_ONCE):
                await task.batch_defer_async(*[{}] * min(_AT_ONCE, jobs - first))
        else:
            await app.run_worker_async(concurrency=concurrency)


if __name__ == "__main__":
    asyncio.run(main(**json.load(sys.stdin)))
