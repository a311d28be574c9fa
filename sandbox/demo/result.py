"""The result of the demo, counted from outside: by the writers' file of ids, an append-only table, and a queue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from rich.console import Console
from rich.table import Table

from outboxkit import sql
from outboxkit.errors import Problem

_TITLE = "from a task's commit to its handler"
_THERE_AND_BACK = [("wal", "polling"), ("polling", "wal")]


@dataclass(frozen=True)
class Switch:
    """A change of the relay from one source to the other."""

    from_mode: str
    to_mode: str
    reason: str


@dataclass(frozen=True)
class Counts:
    """What every demo counts; latencies are milliseconds from a task's commit to its effect's commit."""

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


@dataclass(frozen=True)
class Result(Counts):
    """What `sandbox demo` counted, and how the relay changed between its sources."""

    wal_seconds: float
    """For how long the relay read the WAL, and polled the table."""
    polling_seconds: float
    switches: list[Switch]
    """The first is that of the first start: what was committed before the slot was made is polled."""

    @property
    def clean(self) -> bool:
        """Whether every committed task was applied, none twice, and the relay polled and went back to the WAL."""
        back = [(each.from_mode, each.to_mode) for each in self.switches][-2:] == _THERE_AND_BACK
        return super().clean and back


@dataclass(frozen=True)
class Composed(Counts):
    """What `sandbox composed-demo` counted, and which relay took over."""

    killed: str
    """The container of the relay that was active, and of the one that was active after it."""
    taken_over_by: str
    takeover_seconds: float


def count(connection: psycopg.Connection[Any], committed: Sequence[str], published: Sequence[str]) -> Counts:
    """Compare the ids of committed tasks and of published messages with the effects in the database."""
    effects = {str(task): number for task, number in connection.execute(sql.example("demo_applied")).fetchall()}
    latencies: Sequence[float | None] = (None, None, None)
    if _setting(connection, "track_commit_timestamp") == "on":
        (latencies,) = one(connection, "demo_latency")
    (seconds,) = one(connection, "demo_span")
    return Counts(
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


def with_sources(connection: psycopg.Connection[Any], counts: Counts, *, began: datetime) -> Result:
    """Add for how long each source was read; `began` is when the relay was first started, by the database's clock."""
    streamed, polled = one(connection, "demo_sources", {"began": began})
    return Result(
        **vars(counts),
        wal_seconds=streamed,
        polling_seconds=polled,
        switches=[Switch(*row) for row in connection.execute(sql.example("demo_switches")).fetchall()],
    )


def one(
    connection: psycopg.Connection[Any], name: str, parameters: Mapping[str, object] | None = None
) -> tuple[Any, ...]:
    """Run the query `name` and return its only row."""
    row = connection.execute(sql.example(name), parameters).fetchone()
    if row is None:
        raise Problem(f"{name}.sql returned no row", remedy="report it: this is a bug")
    return tuple(row)


def show(result: Counts, console: Console) -> None:
    """Print the result as a table."""
    table = Table(title=_TITLE, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in vars(result).items():
        if name == "switches":
            for switch in value:
                table.add_row(f"{switch.from_mode} → {switch.to_mode}", switch.reason)
        else:
            table.add_row(_label(name), f"{value:.1f}" if name == "takeover_seconds" else _text(value))
    console.print(table)


def _label(name: str) -> str:
    words = name.replace("_", " ")
    if name.startswith("latency"):
        return f"{words.replace('latency', 'commit → applied')} (ms)"
    if name == "takeover_seconds":
        return "takeover (s)"
    return f"read by {words.removesuffix(' seconds').replace('wal', 'WAL')} (s)" if name.endswith("_seconds") else words


def _text(value: float | str | None) -> str:
    match value:
        case None:
            return "unknown"
        case str():
            return value
        case _:
            return f"{value:,.0f}"


def _setting(connection: psycopg.Connection[Any], name: LiteralString) -> str | None:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return row[0] if row else None
