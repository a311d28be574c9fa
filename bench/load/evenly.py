"""Writes events at an even pace, each in a transaction of its own: a process (`python -m bench.evenly`).

The pacing runs inside Postgres, in a few sessions that take turns, so that the load costs no client's CPU on a machine
that has little. Each commit waits for its WAL to be flushed, as an application's does.
"""

import asyncio
import time
from typing import Any

import psycopg

from bench.load import programs
from outboxkit import sql

_SESSIONS = 4
# All sessions are connected and wait for the same moment.
_BEGIN_AFTER = 0.5


async def run(*, database_url: str, rate: int, events: int) -> None:
    """Write `events` events, `rate` in a second; returns when all are committed."""
    begins = time.time() + _BEGIN_AFTER
    await asyncio.gather(
        *(_session(database_url, begins, session, rate, events) for session in range(1, _SESSIONS + 1))
    )


async def _session(database_url: str, begins: float, session: int, rate: int, events: int) -> None:
    numbers = {"begins": begins, "session": session, "sessions": _SESSIONS, "rate": rate, "events": events}
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(sql.example("bench_evenly"), numbers)


def main(orders: dict[str, Any]) -> None:
    """Run with `orders`: the arguments of `run`."""
    asyncio.run(run(**orders))


if __name__ == "__main__":
    main(programs.orders())
