"""The result of the demo, counted from outside: by the writers' file of ids, an append-only table, and a queue."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, LiteralString

import psycopg
from rich.console import Console
from rich.table import Table

from outboxkit import sql
from outboxkit.errors import Problem

_TITLE = "from a task's commit to its handler, with the relay killed in the middle"


@dataclass(frozen=True)
class Result:
    """What the demo counted; latencies are milliseconds from a task's commit to its effect's commit."""

    committed: int
    published: int
    duplicates_absorbed: int
    applied_exactly_once: int
    applied_twice: int
    lost: int
    latency_p50: float | None
    latency_p95: float | None
    latency_p99: float | None
    events_per_second: float

    @property
    def clean(self) -> bool:
        """Whether every committed task was applied, and none twice."""
        return self.committed > 0 and self.lost == 0 and self.applied_twice == 0


def count(connection: psycopg.Connection[Any], committed: Sequence[str], published: Sequence[str]) -> Result:
    """Compare the ids of committed tasks and of published messages with the effects in the database."""
    effects = {str(task): number for task, number in connection.execute(sql.example("demo_applied")).fetchall()}
    latencies: Sequence[float | None] = (None, None, None)
    if _setting(connection, "track_commit_timestamp") == "on":
        (latencies,) = one(connection, "demo_latency")
    (seconds,) = one(connection, "demo_span")
    return Result(
        committed=len(committed),
        published=len(published),
        duplicates_absorbed=len(published) - len(set(published)),
        applied_exactly_once=sum(effects.get(task) == 1 for task in committed),
        applied_twice=sum(number > 1 for number in effects.values()),
        lost=sum(task not in effects for task in committed),
        latency_p50=latencies[0],
        latency_p95=latencies[1],
        latency_p99=latencies[2],
        events_per_second=len(effects) / seconds if seconds else 0.0,
    )


def one(connection: psycopg.Connection[Any], name: str) -> tuple[Any, ...]:
    """Run the query `name` and return its only row."""
    row = connection.execute(sql.example(name)).fetchone()
    if row is None:
        raise Problem(f"{name}.sql returned no row", remedy="report it: this is a bug")
    return tuple(row)


def show(result: Result, console: Console) -> None:
    """Print the result as a table."""
    table = Table(title=_TITLE, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in asdict(result).items():
        words = name.replace("_", " ")
        label = f"{words.replace('latency', 'commit → applied')} (ms)" if name.startswith("latency") else words
        text = "unknown" if value is None else f"{value:,.0f}" if isinstance(value, float) else f"{value:,}"
        table.add_row(label, text)
    console.print(table)


def _setting(connection: psycopg.Connection[Any], name: LiteralString) -> str | None:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return row[0] if row else None
