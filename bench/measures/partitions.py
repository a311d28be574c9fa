"""Several relays that share an outbox, beside one relay: how fast they drain a backlog, and what the server pays.

Each relay has a slot of its own, so each walsender decodes all of the WAL, and each relay decodes every event before it
passes over those of other partitions. Three forms, in turns:

* one relay, and one queue that gets everything;
* one relay, and queues by hash: what hashing and the exchange that compares headers cost, or what more queues give;
* as many relays as queues, and queues by hash.

Every run has a database of its own: a server has one WAL for all, and walsenders would read the backlogs of the other
forms too. The backlog is written when the relays have come to stream and have ended, so each streams it from its slot.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from bench.instruments import completeness, figures, procfs
from bench.load import queues
from bench.load.queues import Kind
from bench.stage import Publisher, Stage, bare_stage
from bench.watch import Counting, wait_for_quiet
from sandbox import Sandbox
from sandbox.machine.waiting import until

_STREAMING_SECONDS = 120.0
_EVERY = 0.25
_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Form:
    """So many relays, and so many queues by hash; one queue gets everything."""

    relays: int
    queues: int

    def __str__(self) -> str:
        relays = "one relay" if self.relays == 1 else f"{self.relays} relays"
        return f"{relays}, {'one queue' if self.queues == 1 else f'{self.queues} queues by hash'}"


@dataclass(frozen=True, slots=True)
class Run:
    """One drain."""

    events_per_second: float
    relays_us: float
    """CPU microseconds for each event: of all relays, as the next two of all walsenders and of all of Postgres.

    That of relays is without their start; Postgres' has the start of their sessions.
    """
    walsenders_us: float | None
    postgres_us: float | None
    cores: dict[str, float]
    """How many cores each user of the CPU kept busy; `publisher` is all relays, `idle` is the rest."""
    by_queue: list[int]
    duplicates: int


@dataclass(frozen=True, slots=True)
class Partitioned:
    """All runs of one form."""

    form: str
    relays: int
    queues: int
    events: int
    runs: list[Run]
    events_per_second: float
    """The median of the runs, as the next three."""
    of_one: float
    """The rate as a share of that of one relay and one queue."""
    relays_us: float
    walsenders_us: float | None


def forms(relays: int) -> list[Form]:
    """Return the forms to be measured; the first is what the others are compared with."""
    return [Form(1, 1), Form(1, relays), Form(relays, relays)]


def compare(box: Sandbox, *, relays: int, events: int, runs: int, window: int) -> list[Partitioned]:
    """Drain `events` events by each form, `runs` times, in turns."""
    measured = forms(relays)
    made: dict[Form, list[Run]] = {form: [] for form in measured}
    for number in range(runs):
        for form in measured if number % 2 == 0 else reversed(measured):
            with _place(box, form, window) as place:
                made[form].append(_drain(place, events))
    rates = {form: figures.median([run.events_per_second for run in found]) for form, found in made.items()}
    return [
        Partitioned(
            form=str(form),
            relays=form.relays,
            queues=form.queues,
            events=events,
            runs=found,
            events_per_second=rates[form],
            of_one=rates[form] / next(iter(rates.values())),
            relays_us=figures.median([run.relays_us for run in found]),
            walsenders_us=_median([run.walsenders_us for run in found]),
        )
        for form, found in made.items()
    ]


@dataclass(frozen=True, slots=True)
class _Place:
    stage: Stage
    relays: Sequence[Mapping[str, str]]
    """The settings of each relay."""
    queues: Sequence[str]


@contextmanager
def _place(box: Sandbox, form: Form, window: int) -> Iterator[_Place]:
    """Make a database with its relays and queues; the relays have come to stream, and have ended."""
    with bare_stage(box, window=window) as stage:
        relays = [_settings(stage, number, form) for number in range(1, form.relays + 1)]
        names = [stage.new_queue("all")] if form.queues == 1 else _names(stage, form.queues)
        stage.prepare(relays[0])
        for settings in relays[1:]:
            stage.set_up_relay(settings)
        if form.queues == 1:
            asyncio.run(queues.declare(stage.amqp_url, names[0], Kind.QUORUM, exchange=stage.exchange))
        place = _Place(stage, relays, names)
        with _running(place) as publishers:
            until(
                lambda: all(_streams(each) for each in publishers),
                what="every relay streams",
                seconds=_STREAMING_SECONDS,
                every=0.5,
            )
        yield place


def _settings(stage: Stage, number: int, form: Form) -> dict[str, str]:
    return {
        "RELAY_NAME": f"relay-{number}",
        "RELAY_SLOT": f"{stage.exchange}_{number}",
        # What was polled at the beginning is nothing: go on to the WAL at once.
        "RELAY_RETURN_AFTER": "0",
        **({} if form.relays == 1 else {"RELAY_PARTITION": f"{number}/{form.relays}"}),
        **({} if form.queues == 1 else {"RELAY_TOPOLOGY": f"hash:{form.queues}"}),
    }


def _names(stage: Stage, number: int) -> list[str]:
    """Return the queues of RELAY_TOPOLOGY=hash:N; they are deleted with the stage."""
    stage.new_exchange(f"hash-{number}")
    return [stage.new_queue(f"hash-{number}-{each}") for each in range(number)]


@contextmanager
def _running(place: _Place) -> Iterator[list[Publisher]]:
    with ExitStack() as stack:
        yield [stack.enter_context(place.stage.relay(each, name=each["RELAY_NAME"])) for each in place.relays]


def _drain(place: _Place, events: int) -> Run:
    """Write a backlog, drain it, and see that all of it came."""
    stage = place.stage
    stage.write_backlog(events, per_transaction=1)
    wait_for_quiet(events)
    servers = stage.postgres_pids()
    spent = procfs.cpu_with_children(servers)
    with _running(place) as relays:
        watch = Counting(stage, [each.program for each in relays], lambda: _confirmed(relays))
        samples = watch.until_counted(events, every=_EVERY)
        # Each began with the stream of its relay, so what it has used is for this backlog.
        walsenders = procfs.cpu(pid for (pid,) in stage.execute("bench_walsenders"))
        spent = procfs.cpu_with_children(stage.postgres_pids()) - spent
    arrived = asyncio.run(queues.collect_each(stage.amqp_url, place.queues, Kind.QUORUM, expected=events))
    repeated = completeness.duplicates(stage.committed(), [event for each in arrived for event in each])
    steady = figures.steady(samples, events)
    return Run(
        events_per_second=steady.rate,
        relays_us=steady.cpu["publisher"] / steady.events * _MICROSECONDS,
        walsenders_us=walsenders / events * _MICROSECONDS if servers else None,
        postgres_us=spent / events * _MICROSECONDS if servers else None,
        cores=steady.cores,
        by_queue=[len(each) for each in arrived],
        duplicates=repeated,
    )


def _confirmed(relays: Sequence[Publisher]) -> int:
    """Return how many events are confirmed; 0 until each relay has begun, so that no start is in a rate."""
    counts = [relay.endpoint.confirmed() for relay in relays]
    return sum(counts) if all(counts) else 0


def _streams(relay: Publisher) -> bool:
    relay.program.check()
    samples = (each for family in text_string_to_metric_families(relay.endpoint.metrics()) for each in family.samples)
    return any(
        each.name == "relay_source_mode" and each.labels["mode"] == "wal" and each.value == 1 for each in samples
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return figures.median(known) if known else None
