"""Prints the results about tasks as tables."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.measures.tasks.applied import Applied
from bench.measures.tasks.backlog import Rate
from bench.measures.tasks.claiming import Claiming
from bench.measures.tasks.soak import Soak
from bench.report.report import Report
from bench.report.table import table_of

_NONE = "-"


def show(report: Report, console: Console) -> None:
    """Print a table for each benchmark about tasks that was run."""
    if report.tasks:
        console.print(_rates(report.tasks))
    if report.applied:
        console.print(_applied(report.applied))
    if report.claiming:
        console.print(_claiming(report.claiming))
    for soak in report.soak:
        console.print(_soak(soak))


def _rates(found: Sequence[Rate]) -> Table:
    table = table_of(
        f"tasks: a backlog of {found[0].tasks:,} that do nothing, one consumer with its defaults unless it says more; "
        "medians, costs per task",
        "what", "tasks/s", "of each run", "÷ bare", "consumer µs", "transactions", "WAL bytes",
    )  # fmt: skip
    for line in found:
        table.add_row(
            line.arm,
            f"{line.per_second:,.0f}",
            " ".join(f"{run.per_second:,.0f}" for run in line.runs),
            _figure(line.of_bare, ".2f"),
            f"{line.cpu_per_task:.1f}",
            _figure(line.transactions, ".3f"),
            _figure(line.wal_bytes, ",.0f"),
        )
    return table


def _applied(found: Sequence[Applied]) -> Table:
    table = table_of(
        "latency in ms: a task's submission → its completion, commit to commit, at an even load",
        "tasks/s", "of", "p50", "p95", "p99", "max", "consumer µs",
    )  # fmt: skip
    for line in found:
        spread = line.applied_ms
        table.add_row(
            f"{line.achieved:,.0f}",
            f"{line.rate:,}",
            *(f"{value:.1f}" for value in (spread.p50, spread.p95, spread.p99, spread.max)),
            f"{line.worker_cpu:.0f}",
        )
    return table


def _claiming(found: Sequence[Claiming]) -> Table:
    table = table_of(
        f"claims in ms: of one task, and of {found[0].batch}, with the commit",
        "tasks in the table", "one: p50", "p95", "÷ smallest", "batch: p50", "p95",
    )  # fmt: skip
    for line in found:
        table.add_row(
            f"{line.rows:,}",
            f"{line.single_ms.p50:.2f}",
            f"{line.single_ms.p95:.2f}",
            f"{line.of_smallest:.2f}",
            f"{line.batch_ms.p50:.2f}",
            f"{line.batch_ms.p95:.2f}",
        )
    return table


def _soak(found: Soak) -> Table:
    table = table_of(f"soak: {found.tasks:,} tasks, seed {found.seed}, {found.seconds:.0f} s", "", "")
    for name, number in (*found.states.items(), *found.counted.items()):
        table.add_row(name, f"{number:,}")
    return table


def _figure(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)
