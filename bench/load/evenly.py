"""Writes events evenly, one in each transaction: a process (`python -m bench.load.evenly`).

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


async def run(*, database_url: str, rate: int, events: int) -> None:
    """Write `events` events, `rate` per second; return when all are committed."""
    begins = time.time() + _BEGIN_AFTER
    await asyncio.gather(
        *(_session(database_url, begins, session, rate, events) for session in range(1, _SESSIONS + 1))
    )


async def _session(database_url: str, begins: float, session: int, rate: int, events: int) -> None:
    numbers = {"begins": begins, "session": session, "sessions": _SESSIONS, "rate": rate, "events": events}
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(sql.example("bench_evenly"), numbers)


def main(arguments: dict[str, Any]) -> None:
    """Call `run` with `arguments`."""
    asyncio.run(run(**arguments))


if __name__ == "__main__":
    main(programs.arguments())
