"""Prints a report as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.instruments.figures import median
from bench.measures.drain import Comparison, Cost
from bench.measures.http import Requests
from bench.measures.latency import Latency
from bench.measures.memory import Memory
from bench.measures.partitions import Partitioned
from bench.measures.shadow import BOUND, Shadowed
from bench.measures.sources import TARGET, Source
from bench.report import task_tables
from bench.report.report import Report
from bench.report.surroundings import Surroundings
from bench.report.table import table_of

# Columns: the users of the CPU while the relay drains. What the relay and the walsender use, the broker cannot.
_CORES = {"relay cores": "publisher", "RabbitMQ": "rabbitmq", "others": "others", "idle": "idle"}


def show(report: Report, console: Console) -> None:
    """Print the surroundings, and a table for each benchmark that was run."""
    console.print(_surroundings(report.surroundings))
    if report.drain:
        console.print(_drain(report.drain))
    if report.cpu:
        console.print(_cpu(report.cpu))
    if report.latency:
        console.print(_latency(report.latency))
    if report.memory:
        console.print(_memory(report.memory))
    if report.sources:
        console.print(_sources(report.sources))
    if report.shadow:
        console.print(_shadow(report.shadow))
    if report.partitions:
        console.print(_partitions(report.partitions))
    if report.http:
        console.print(_http(report.http))
    task_tables.show(report, console)


def _surroundings(surroundings: Surroundings) -> Table:
    table = table_of("surroundings", "", "")
    for name, value in asdict(surroundings).items():
        table.add_row(name.replace("_", " "), _text(value))
    return table


def _text(value: Any) -> str:  # noqa: ANN401 - any field
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={each}" for name, each in value.items())
    if isinstance(value, tuple):
        return " ".join(f"{each:.2f}" for each in value)
    return str(value)


def _drain(found: Sequence[Comparison]) -> Table:
    table = table_of(
        f"drain: {found[0].events:,} events by the relay and by the ceiling (encoded beforehand); medians of the pairs",
        "queue", "rows/tx", "relay/s", "ceiling/s", "ratio", "of each pair", "relay µs", *_CORES,
    )  # fmt: skip
    for line in found:
        relays = [pair.relay for pair in line.pairs]
        table.add_row(
            line.queue,
            str(line.rows_per_transaction),
            f"{median([run.events_per_second for run in relays]):,.0f}",
            f"{median([pair.ceiling.events_per_second for pair in line.pairs]):,.0f}",
            f"{line.ratio:.3f}",
            " ".join(f"{ratio:.2f}" for ratio in line.ratios),
            f"{median([run.cpu_per_event for run in relays]):.1f}",
            *(f"{median([run.cores[who] for run in relays]):.2f}" for who in _CORES.values()),
        )
    return table


def _cpu(found: Sequence[Cost]) -> Table:
    table = table_of(
        f"cpu: the relay's user and system time for each of {found[0].events:,} events, classic queue",
        "rows/tx", "µs/event", "of each run", "pika encodes µs", "multiple", "events/s", "idle cores",
    )  # fmt: skip
    for line in found:
        table.add_row(
            str(line.rows_per_transaction),
            f"{line.cpu_per_event:.1f}",
            " ".join(f"{run.cpu_per_event:.1f}" for run in line.runs),
            f"{line.pika_encodes:.1f}",
            f"{line.by_pika:.2f}",
            f"{median([run.events_per_second for run in line.runs]):,.0f}",
            f"{median([run.cores['idle'] for run in line.runs]):.2f}",
        )
    return table


def _latency(found: Sequence[Latency]) -> Table:
    bounds = list(found[0].confirmed_within)
    table = table_of(
        "latency in ms: commit → delivered; then by the relay's histograms: the share confirmed in time, and the "
        "p50 of each stage",
        "queue", "events/s", "of", "p50", "p95", "p99", "max", *(f"≤ {bound} ms" for bound in bounds),
        *found[0].p50_ms, "idle cores",
    )  # fmt: skip
    for line in found:
        spread = line.delivered_ms
        table.add_row(
            line.queue,
            f"{line.achieved:,.0f}",
            f"{line.rate:,}",
            *(f"{value:.1f}" for value in (spread.p50, spread.p95, spread.p99, spread.max)),
            *(f"{line.confirmed_within[bound]:.2%}" for bound in bounds),
            *(f"{value:.1f}" for value in line.p50_ms.values()),
            f"{line.cores['idle']:.2f}",
        )
    return table


def _memory(found: Sequence[Memory]) -> Table:
    table = table_of(
        "memory: the relay's resident memory in MB", "load", "before", "peak", "after", "seconds", "duplicates"
    )
    for line in found:
        sizes = (f"{size:.0f}" for size in (line.before_mb, line.peak_mb, line.after_mb))
        table.add_row(line.what, *sizes, f"{line.seconds:.0f}", f"{line.duplicates:,}")
    return table


def _sources(found: Sequence[Source]) -> Table:
    table = table_of(
        f"sources, in an order drawn by seed {found[0].seed}: {found[0].events:,} events of one row per transaction "
        f"drained, medians, costs per event (polling is to reach {TARGET} of the WAL's rate); commit → confirmed "
        f"and delivered at {found[0].rate:,} events/s; idle: a minute without events",
        "source", "events/s", "÷ WAL", "relay µs", "WAL bytes", "dead rows", "p50 ms", "p99 ms",
        "idle: tx", "relay ms", "server ms",
    )  # fmt: skip
    for line in found:
        spread, idle = line.even.delivered_ms, line.even.idle
        table.add_row(
            line.way,
            f"{line.events_per_second:,.0f}",
            f"{line.of_wal:.2f}",
            f"{line.cpu_per_event:.1f}",
            f"{line.wal_bytes:.1f}",
            f"{line.dead_rows:.4f}",
            f"{spread.p50:,.1f}",
            f"{spread.p99:,.1f}",
            f"{idle.transactions:,.0f}",
            f"{idle.relay_cpu_ms:,.0f}",
            f"{idle.postgres_cpu_ms:,.0f}",
        )
    return table


def _shadow(found: Sequence[Shadowed]) -> Table:
    table = table_of(
        f"shadow: how many times as long the live stream takes beside a shadow (at most {BOUND}): to drain a backlog, "
        "to keep up with a flood, and, paced, from commit to confirm (p50); medians of the pairs",
        "source", "shadow", "load", "events", "without", "with", "ratio", "of each pair", "CPU", "compared",
        "differences", "pauses",
    )  # fmt: skip
    for line in found:
        paced = line.load == "paced"
        without, beside = (
            median([run.p50_ms or 0.0 if paced else run.events_per_second for run in runs])
            for runs in (line.without, line.beside)
        )
        unit = "ms" if paced else "/s"
        table.add_row(
            line.source,
            line.shadow,
            line.load,
            f"{line.events:,}",
            f"{without:,.1f} {unit}" if paced else f"{without:,.0f}{unit}",
            f"{beside:,.1f} {unit}" if paced else f"{beside:,.0f}{unit}",
            f"{line.ratio:.3f}",
            " ".join(f"{ratio:.2f}" for ratio in line.ratios),
            f"{line.cpu_ratio:.2f}",
            *(
                f"{sum(counts):,}"
                for counts in zip(*((run.compared, run.differences, run.pauses) for run in line.beside), strict=True)
            ),
        )
    return table


def _partitions(found: Sequence[Partitioned]) -> Table:
    table = table_of(
        f"partitions: {found[0].events:,} events of one row per transaction drained into quorum queues, medians of the "
        "runs; µs of CPU for each event, of all relays and of all walsenders",
        "form", "events/s", "÷ one relay", "of each run", "relays µs", "walsenders µs", "Postgres µs", *_CORES,
        "fewest and most in a queue",
    )  # fmt: skip
    for line in found:
        shares = [count for run in line.runs for count in run.by_queue]
        table.add_row(
            line.form,
            f"{line.events_per_second:,.0f}",
            f"{line.of_one:.2f}",
            " ".join(f"{run.events_per_second:,.0f}" for run in line.runs),
            f"{line.relays_us:.1f}",
            *(_microseconds([getattr(run, part) for run in line.runs]) for part in ("walsenders_us", "postgres_us")),
            *(f"{median([run.cores[who] for run in line.runs]):.2f}" for who in _CORES.values()),
            f"{min(shares):,} {max(shares):,}",
        )
    return table


def _microseconds(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.1f}" if known else "-"


def _http(found: Sequence[Requests]) -> Table:
    table = table_of(
        "http: one instance, an open load; ms from when a request was due to its answer; CPU for each request",
        "request", "per second", "requests", "p50", "p95", "p99", "max", "service µs", "Postgres µs", "idle cores",
    )  # fmt: skip
    for line in found:
        spread = line.answered_ms
        table.add_row(
            line.what,
            f"{line.rate:,}",
            f"{line.requests:,}",
            *(f"{value:.1f}" for value in (spread.p50, spread.p95, spread.p99, spread.max)),
            f"{line.service_us:,.0f}",
            "-" if line.postgres_us is None else f"{line.postgres_us:,.0f}",
            f"{line.idle_cores:.2f}",
        )
    return table
