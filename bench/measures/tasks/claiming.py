"""How long the consumers' claim takes in a small and in a large table: of one task, and of a batch.

The statement is the consumers' own, sent as they send it, with its commit. The tables take turns.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg

from bench.instruments import figures
from bench.instruments.figures import Spread
from bench.stage import Stage, stage
from outboxkit import sql
from sandbox import Sandbox

_ROUNDS = 5
_SINGLE = 40
"""Claims of one task in a round."""
_BATCH = 100
_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class Claiming:
    """The claims in one table."""

    rows: int
    """Tasks in the table."""
    single_ms: Spread
    batch_ms: Spread
    """Of a claim of `batch` tasks."""
    batch: int
    of_smallest: float
    """The median of single claims, as a multiple of that in the smallest table."""


def measure(box: Sandbox, *, rows: Sequence[int], window: int) -> list[Claiming]:
    """Claim tasks in tables of so many `rows` each, of 1,000 at least."""
    single: dict[int, list[float]] = {number: [] for number in rows}
    batch: dict[int, list[float]] = {number: [] for number in rows}
    with ExitStack() as stack:
        places = {number: stack.enter_context(_filled(box, number, window)) for number in rows}
        for turn in range(_ROUNDS):
            for number in rows if turn % 2 == 0 else reversed(rows):
                place = places[number]
                ids = [task for (task,) in place.execute("bench_task_draw", tasks=_SINGLE + _BATCH)]
                with place.connect() as connection:
                    for task in ids[:_SINGLE]:
                        single[number].append(_claim(connection, [task]))
                    batch[number].append(_claim(connection, ids[_SINGLE:]))
    medians = {number: figures.spread(times).p50 for number, times in single.items()}
    return [
        Claiming(
            number,
            figures.spread(single[number]),
            figures.spread(batch[number]),
            _BATCH,
            medians[number] / medians[min(rows)],
        )
        for number in rows
    ]


@contextmanager
def _filled(box: Sandbox, rows: int, window: int) -> Iterator[Stage]:
    with stage(box, window=window) as place:
        place.execute("bench_task_rows", tasks=rows)
        place.vacuum()
        yield place


def _claim(connection: psycopg.Connection[tuple[object, ...]], ids: Sequence[object]) -> float:
    parameters = {
        "ids": list(ids), "versions": [1] * len(ids), "asked": [None] * len(ids), "worker": "bench", "lease": 3600.0,
    }  # fmt: skip
    began = time.perf_counter()
    connection.execute(sql.query("task_claim"), parameters).fetchall()
    return (time.perf_counter() - began) * _MILLISECONDS
