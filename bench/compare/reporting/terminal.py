"""Prints a comparison as two tables, with the faults and what changed below them."""

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table

from bench.compare.findings import correctness, edges
from bench.compare.findings.against import Against
from bench.compare.findings.measures import Measure, Measured
from bench.compare.findings.phrasing import plural, quantity
from bench.compare.reporting import about, tables
from bench.compare.results import APPLIED, CONFIRMED, Results
from bench.report.table import table_of

_SPEED = {
    f"{CONFIRMED} p50": "p50",
    f"{CONFIRMED} p99": "p99",
    f"{APPLIED} p99": "applied p99",
    "drain_rate": "drain",
    "sustainable_rate": "sustained",
}
_COSTS = {
    "writer_commit_p50": "writer's p50",
    "database_cpu": "Postgres CPU",
    "wal_bytes": "WAL",
    "dead_tuples": "dead rows",
    "relay_cpu": "relay CPU",
    "idle_database_cpu": "idle Postgres",
    "idle_relay_cpu": "idle relay",
    "catch_up": "catch up",
}
"""Columns; each measure is shown in the first phase that has it."""
_NONE = "-"


def show(found: Results, console: Console, compared: Against | None = None) -> None:
    """Print the tables, then what is wrong with an arm, what is missing, and what changed."""
    measured, seen = Measured(found), found.surroundings
    of = f"medians of {plural(seen.repetitions, 'repetition')} at most, seed {seen.seed}"
    console.print(_speed(measured, f"compare: commit → confirmed and applied, rates, and what is wrong; {of}"))
    console.print(_costs(measured, "what it costs: CPU, WAL and dead rows per event; idle CPU per minute; an outage"))
    if edges.rows(measured):
        console.print(_edges(measured, "what becomes of events when something is broken"))
    for line in (*_faults(measured), *_missing(found), *_changes(compared)):
        console.print(line, highlight=False, markup=False)


def _speed(measured: Measured, title: str) -> Table:
    counts = {each.arm: each for each in correctness.counted(measured)}
    columns = _columns(measured, _SPEED)
    table = table_of(title, "arm", *columns, "missed", "twice", "reordered", "verdict")
    for arm in measured.arms:
        each = counts.get(arm)
        if each is not None:
            numbers = (each.counts.missed, each.counts.duplicated, each.counts.reordered)
            judged = (*(f"{number:,}" for number in numbers), correctness.verdict(each))
            table.add_row(arm, *_cells(measured, columns, arm), *judged)
    return table


def _costs(measured: Measured, title: str) -> Table:
    columns = _columns(measured, _COSTS)
    table = table_of(title, "arm", *columns)
    for arm in measured.arms:
        table.add_row(arm, *_cells(measured, columns, arm))
    return table


def _edges(measured: Measured, title: str) -> Table:
    table = table_of(title, *tables.EDGES)
    for row in edges.rows(measured):
        table.add_row(*tables.edge(row))
    return table


def _columns(measured: Measured, shown: Mapping[str, str]) -> dict[str, Measure]:
    """Return the first measure of each name by its heading."""
    first = {measure.name: measure for measure in reversed(measured.measures)}
    return {heading: first[name] for name, heading in shown.items() if name in first}


def _cells(measured: Measured, columns: Mapping[str, Measure], arm: str) -> Iterator[str]:
    for measure in columns.values():
        estimate = measured.estimates(measure).get(arm)
        yield _NONE if estimate is None else quantity(estimate.value, measure.unit)


def _faults(measured: Measured) -> Iterator[str]:
    yield from (finding.text for finding in correctness.findings(measured) if finding.fault)


def _missing(found: Results) -> Iterator[str]:
    if text := about.unfinished(found):
        yield text
    yield from (f"Not measured: {text}" for text in about.not_measured(found))


def _changes(compared: Against | None) -> Iterator[str]:
    if compared is None:
        return
    yield f"Against the earlier comparison: {compared}"
    yield from (f"{'better' if each.better else 'worse'}: {each}" for each in compared.changes)
    yield from (f"the other way round now: {each}" for each in compared.agreement.turned)
    yield from (f"not seen now: {each}" for each in compared.agreement.unseen)
