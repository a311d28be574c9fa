"""Writes events, or submits tasks, evenly, one in each transaction: a process (`python -m bench.load.evenly`).

The loop runs inside Postgres, in a few sessions that take turns, so that the load needs no CPU of a client. Each commit
waits until its WAL is flushed, as an application's commit does.
"""

import asyncio
import time
from typing import Any

import psycopg

from bench.load import programs
from outboxkit import sql

_SESSIONS = 4
# By then all sessions are connected; they begin at the same time.
_BEGIN_AFTER = 0.5


async def run(*, database_url: str, rate: int, events: int, task: str | None = None) -> None:
    """Write `events` events, or tasks of type `task`, `rate` per second; return when all are committed."""
    load = {"begins": time.time() + _BEGIN_AFTER, "sessions": _SESSIONS, "rate": rate, "events": events, "type": task}
    await asyncio.gather(*(_session(database_url, load | {"session": number + 1}) for number in range(_SESSIONS)))


async def _session(database_url: str, load: dict[str, Any]) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(sql.example("bench_task_evenly" if load["type"] else "bench_evenly"), load)


def main(arguments: dict[str, Any]) -> None:
    """Call `run` with `arguments`."""
    asyncio.run(run(**arguments))


if __name__ == "__main__":
    main(programs.arguments())
