"""The command `bench`: its options and its output, and no logic."""

import random
from typing import Annotated, NoReturn

import typer

from bench import tasks_cli
from bench.compare import command
from bench.compare.peers import command as peers_command
from bench.load.queues import Kind
from bench.measures import drain, http, latency, memory, partitions, shadow, sources
from bench.running import Json, measuring
from outboxkit.process import commands
from sandbox import Sandbox

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Measure the relay, the consumers and the service on a private Postgres and RabbitMQ.

    Each command prints a table and JSON, and fails if a committed event did
    not arrive. Run nothing else on the machine meanwhile. The servers are
    selected by SANDBOX, SANDBOX_DATABASE_URL and SANDBOX_AMQP_URL.""",
)
app.callback()(commands.options)
app.add_typer(tasks_cli.app, name="tasks")
app.command("compare")(command.compare)
app.command("peers")(peers_command.peers)

Events = Annotated[int, typer.Option(min=100, help="Number of events.")]
Pairs = Annotated[int, typer.Option(min=1, help="Number of runs of each publisher, in turns.")]
Window = Annotated[int, typer.Option(min=1, help="RELAY_MAX_IN_FLIGHT, and the window of the ceiling.")]
Rows = Annotated[list[int], typer.Option(min=1, help="Rows in each transaction; can be repeated.")]
Queues = Annotated[list[Kind], typer.Option("--queue", help="Kind of queue; can be repeated.")]
Rates = Annotated[list[int], typer.Option("--rate", min=1, help="Events, or requests, per second; can be repeated.")]
Seconds = Annotated[int, typer.Option(min=1, help="Seconds that each load lasts.")]
Outage = Annotated[int, typer.Option(min=1, help="Seconds that the broker is down.")]

_ROWS = [1, 100]
_HTTP_RATES = [200]
_RATES = [500, 2000]
_KINDS = list(Kind)
_LATENCY_KINDS = [Kind.CLASSIC, Kind.QUORUM]


@app.command("drain")
def measure_drain(  # noqa: PLR0913 - one parameter for each option
    *,
    events: Events = 200_000,
    pairs: Pairs = 3,
    window: Window = 1000,
    rows: Rows = _ROWS,
    queue: Queues = _KINDS,
    to: Json = None,
) -> None:
    """Measure how fast the relay drains a backlog, in turns with a publisher of frames encoded beforehand."""
    with measuring(to, window) as (box, found):
        found.drain += drain.compare(box, kinds=queue, rows=rows, events=events, pairs=pairs, window=window)


@app.command("cpu")
def measure_cpu(
    *, events: Events = 200_000, pairs: Pairs = 3, window: Window = 1000, rows: Rows = _ROWS, to: Json = None
) -> None:
    """Measure the relay's CPU for each event while it drains."""
    with measuring(to, window) as (box, found):
        found.cpu += drain.cost(box, rows=rows, events=events, runs=pairs, window=window)


@app.command("latency")
def measure_latency(
    *,
    rate: Rates = _RATES,
    seconds: Seconds = 30,
    window: Window = 1000,
    queue: Queues = _LATENCY_KINDS,
    to: Json = None,
) -> None:
    """Measure how long an event takes from its commit to the broker, at an even load."""
    with measuring(to, window) as (box, found):
        found.latency += latency.measure(box, kinds=queue, rates=rate, seconds=seconds, window=window)


@app.command("memory")
def measure_memory(
    *,
    events: Events = 1_000_000,
    outage: Outage = 60,
    rate: Annotated[int, typer.Option(min=1, help="Events per second during the outage.")] = 1000,
    window: Window = 1000,
    to: Json = None,
) -> None:
    """Measure the relay's memory in one large transaction, and while the broker is down."""
    with measuring(to, window) as (box, found):
        found.memory += _memory(box, events=events, outage=outage, rate=rate, window=window)


@app.command("sources")
def measure_sources(  # noqa: PLR0913 - the same
    *,
    events: Events = 100_000,
    runs: Annotated[int, typer.Option(min=1, help="Number of drains by each source.")] = 3,
    rate: Annotated[int, typer.Option(min=1, help="Events per second of the even load.")] = 200,
    seconds: Seconds = 30,
    idle: Annotated[int, typer.Option(min=1, help="Seconds without events.")] = 60,
    seed: Annotated[int | None, typer.Option(help="Draws the order; drawn, unless given.")] = None,
    window: Window = 1000,
    to: Json = None,
) -> None:
    """Measure the WAL and the ways of polling side by side: drain, latency, cost for the database, idle cost."""
    drawn = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    with measuring(to, window) as (box, found):
        found.sources += sources.compare(
            box, events=events, runs=runs, rate=rate, seconds=seconds, idle=idle, window=window, seed=drawn
        )


@app.command("shadow")
def measure_shadow(  # noqa: PLR0913 - the same
    *,
    events: Events = 50_000,
    rate: Annotated[int, typer.Option(min=1, help="Events per second of the even load.")] = 500,
    seconds: Seconds = 20,
    pairs: Pairs = 3,
    window: Window = 1000,
    to: Json = None,
) -> None:
    """Measure what shadow mode costs the live stream, with and without it in turns."""
    with measuring(to, window) as (box, found):
        found.shadow += shadow.compare(box, events=events, rate=rate, seconds=seconds, pairs=pairs, window=window)


@app.command("partitions")
def measure_partitions(
    *,
    relays: Annotated[int, typer.Option(min=2, max=16, help="Number of relays, and of queues by hash.")] = 4,
    events: Events = 50_000,
    runs: Annotated[int, typer.Option(min=1, help="Number of drains by each form, in turns.")] = 3,
    window: Window = 1000,
    to: Json = None,
) -> None:
    """Measure how fast several relays that share an outbox drain a backlog beside one, and what Postgres pays."""
    with measuring(to, window) as (box, found):
        found.partitions += partitions.compare(box, relays=relays, events=events, runs=runs, window=window)


@app.command("http")
def measure_http(*, rate: Rates = _HTTP_RATES, seconds: Seconds = 30, to: Json = None) -> None:
    """Measure how long the service takes to answer, at an even load of each kind of request."""
    with measuring(to, 1000) as (box, found):
        found.http.extend(http.measure(box, rates=rate, seconds=seconds, window=1000))


@app.command("all")
def measure_all(  # noqa: PLR0913 - the same
    *,
    events: Annotated[
        int, typer.Option(min=100, help="Number of events to drain; the large transaction has five times as many.")
    ] = 200_000,
    pairs: Pairs = 3,
    seconds: Seconds = 30,
    outage: Outage = 60,
    window: Window = 1000,
    to: Json = None,
) -> None:
    """Run drain, cpu, latency and memory, one after the other, on the same servers."""
    with measuring(to, window) as (box, found):
        found.drain += drain.compare(box, kinds=_KINDS, rows=_ROWS, events=events, pairs=pairs, window=window)
        found.cpu += drain.cost(box, rows=_ROWS, events=events, runs=pairs, window=window)
        found.latency += latency.measure(box, kinds=_LATENCY_KINDS, rates=_RATES, seconds=seconds, window=window)
        found.memory += _memory(box, events=events * 5, outage=outage, rate=1000, window=window)


def main() -> NoReturn:
    """Run the command."""
    commands.run(app, name="bench")


def _memory(box: Sandbox, *, events: int, outage: int, rate: int, window: int) -> list[memory.Memory]:
    return [
        memory.large_transaction(box, events=events, window=window),
        memory.broker_outage(box, rate=rate, seconds=outage, window=window),
    ]
