"""The command `bench`: options, and what is printed; nothing else."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

import sandbox
from bench.load.queues import Kind
from bench.measures import drain as draining
from bench.measures import latency as latencies
from bench.measures import memory as memories
from bench.report import surroundings
from bench.report import tables as report
from bench.report.tables import Report
from outboxkit import commands
from sandbox import Sandbox

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Measure the relay on a private Postgres and RabbitMQ.

    Each command prints a table and JSON, and fails if an event that was committed did not arrive. Run it with nothing
    else on the machine. SANDBOX, SANDBOX_DATABASE_URL and SANDBOX_AMQP_URL say which servers.""",
)
app.callback()(commands.options)

Json = Annotated[Path | None, typer.Option("--json", help="Write the JSON to this file instead of printing it.")]
Events = Annotated[int, typer.Option(min=100, help="How many events.")]
Pairs = Annotated[int, typer.Option(min=1, help="How often each side runs, in turns.")]
Window = Annotated[int, typer.Option(min=1, help="RELAY_MAX_IN_FLIGHT, and the ceiling's window.")]
Rows = Annotated[list[int], typer.Option(min=1, help="Rows in each transaction; may be repeated.")]
Queues = Annotated[list[Kind], typer.Option("--queue", help="Kind of queue; may be repeated.")]
Rates = Annotated[list[int], typer.Option("--rate", min=1, help="Events per second; may be repeated.")]
Seconds = Annotated[int, typer.Option(min=1, help="How long each load lasts.")]
Outage = Annotated[int, typer.Option(min=1, help="For how many seconds the broker is away.")]

_ROWS = [1, 100]
# Of a table in a file: its columns are not cut.
_WIDTH = 130
_RATES = [500, 2000]
_KINDS = list(Kind)
_LATENCY_KINDS = [Kind.CLASSIC, Kind.QUORUM]


@app.command()
def drain(  # noqa: PLR0913 - one parameter for each option
    *,
    events: Events = 200_000,
    pairs: Pairs = 3,
    window: Window = 1000,
    rows: Rows = _ROWS,
    queue: Queues = _KINDS,
    to: Json = None,
) -> None:
    """Drain a backlog, beside a publisher of frames encoded beforehand, in turns."""
    with _measuring(to, window) as (box, found):
        found.drain += draining.compare(box, kinds=queue, rows=rows, events=events, pairs=pairs, window=window)


@app.command()
def cpu(
    *, events: Events = 200_000, pairs: Pairs = 3, window: Window = 1000, rows: Rows = _ROWS, to: Json = None
) -> None:
    """Measure the relay's CPU for each event while it drains."""
    with _measuring(to, window) as (box, found):
        found.cpu += draining.cost(box, rows=rows, events=events, runs=pairs, window=window)


@app.command()
def latency(
    *,
    rate: Rates = _RATES,
    seconds: Seconds = 30,
    window: Window = 1000,
    queue: Queues = _LATENCY_KINDS,
    to: Json = None,
) -> None:
    """Measure how long an event takes from its commit to the broker, at an even load."""
    with _measuring(to, window) as (box, found):
        found.latency += latencies.measure(box, kinds=queue, rates=rate, seconds=seconds, window=window)


@app.command()
def memory(
    *,
    events: Events = 1_000_000,
    outage: Outage = 60,
    rate: Annotated[int, typer.Option(min=1, help="Events per second during the outage.")] = 1000,
    window: Window = 1000,
    to: Json = None,
) -> None:
    """Measure the relay's memory in one transaction of so many rows, and while the broker is away."""
    with _measuring(to, window) as (box, found):
        found.memory += _memory(box, events=events, outage=outage, rate=rate, window=window)


@app.command(name="all")
def everything(  # noqa: PLR0913 - the same
    *,
    events: Annotated[
        int, typer.Option(min=100, help="How many to drain; five times as many in the large transaction.")
    ] = 200_000,
    pairs: Pairs = 3,
    seconds: Seconds = 30,
    outage: Outage = 60,
    window: Window = 1000,
    to: Json = None,
) -> None:
    """Measure all four, one after the other, on the same servers."""
    with _measuring(to, window) as (box, found):
        found.drain += draining.compare(box, kinds=_KINDS, rows=_ROWS, events=events, pairs=pairs, window=window)
        found.cpu += draining.cost(box, rows=_ROWS, events=events, runs=pairs, window=window)
        found.latency += latencies.measure(box, kinds=_LATENCY_KINDS, rates=_RATES, seconds=seconds, window=window)
        found.memory += _memory(box, events=events * 5, outage=outage, rate=1000, window=window)


def main() -> NoReturn:
    """Run the command."""
    commands.run(app, name="bench")


def _memory(box: Sandbox, *, events: int, outage: int, rate: int, window: int) -> list[memories.Memory]:
    return [
        memories.large_transaction(box, events=events, window=window),
        memories.broker_outage(box, rate=rate, seconds=outage, window=window),
    ]


@contextmanager
def _measuring(to: Path | None, window: int) -> Iterator[tuple[Sandbox, Report]]:
    """Start the servers; what stands in the report in the end, or when something fails, is printed."""
    load_before = surroundings.load()
    with sandbox.start() as box:
        found = Report(surroundings.look(box, load_before=load_before, window=window))
        try:
            yield box, found
        finally:
            report.show(found, Console(width=None if sys.stdout.isatty() else _WIDTH))
            if to is None:
                typer.echo(report.to_json(found))
            else:
                report.write(found, to)
