"""Writes a load by its schedule: a process (`python -m bench.compare.load.writing`).

The loop runs inside Postgres, in one session for each part of the schedule, so that the load needs no CPU of a client.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg

from bench.compare.planning.workload import Transaction, sessions, together
from bench.load import programs
from outboxkit import sql


def parts(transactions: Sequence[Transaction], most: int) -> list[dict[str, list[Any]]]:
    """Return what each session writes, as the parameters of its call; at most `most` sessions. Pure."""
    return [_columns(numbers, [transactions[number] for number in numbers]) for numbers in sessions(transactions, most)]


def _columns(numbers: list[int], dealt: Sequence[Transaction]) -> dict[str, list[Any]]:
    return {
        "numbers": numbers,
        "dues": [each.due for each in dealt],
        "opens": [each.open for each in dealt],
        "rollbacks": [each.rolls_back for each in dealt],
        "row_counts": [each.rows for each in dealt],
        "payloads": [each.payload_bytes for each in dealt],
        "firsts": [each.aggregate for each in dealt],
        "spans": [together(each.rows) for each in dealt],
    }


async def run(*, database_url: str, load: int, begins: float, parts: Sequence[dict[str, list[Any]]]) -> None:
    """Write `parts`, one in each session, from `begins` on (seconds since 1970); return when all is written."""
    await asyncio.gather(*(_session(database_url, {"load": load, "begins": begins, **part}) for part in parts))


async def _session(database_url: str, part: dict[str, Any]) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(sql.example("bench_compare_write"), part)


def main(arguments: dict[str, Any]) -> None:
    """Call `run` with `arguments`."""
    asyncio.run(run(**arguments))


if __name__ == "__main__":
    main(programs.arguments())
