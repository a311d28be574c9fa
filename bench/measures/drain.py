"""How fast the relay drains a backlog, compared with the most that the broker accepts, and how much CPU it needs.

Relay and ceiling alternate in pairs (A B, B A, A B) on one broker. Each run has a new queue, and both are counted in
the same way. The figures do not contain the start of a process.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.instruments import completeness, figures
from bench.load import queues, wire
from bench.stage import Publisher, Stage, stage
from bench.watch import Watch, wait_for_quiet
from sandbox import Sandbox

# A sample costs the publisher one HTTP response, about 2 ms.
_EVERY = 0.25
_CPU_EVERY = 1.0
_SAMPLES_AT_LEAST = 10_000
_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Drained:
    """One publisher's run."""

    events_per_second: float
    cpu_per_event: float
    """CPU microseconds of the publisher, user and system."""
    cores: dict[str, float]
    """How many cores each user of the CPU kept busy; `idle` is the rest."""
    duplicates: int


@dataclass(frozen=True, slots=True)
class Pair:
    """A relay and a ceiling, one right after the other."""

    relay: Drained
    ceiling: Drained

    @property
    def ratio(self) -> float:
        """The relay's rate as a share of the ceiling's."""
        return self.relay.events_per_second / self.ceiling.events_per_second


@dataclass(frozen=True, slots=True)
class Comparison:
    """All pairs on one kind of queue and for one size of transaction."""

    queue: queues.Kind
    rows_per_transaction: int
    events: int
    pairs: list[Pair]
    ratios: list[float]
    ratio: float
    """The median of the ratios."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The relay's CPU for one size of transaction."""

    rows_per_transaction: int
    events: int
    cpu_per_event: float
    """CPU microseconds, user and system: the median of the runs."""
    pika_encodes: float
    """CPU microseconds that pika takes to encode one such message, measured between the runs."""
    runs: list[Drained]

    @property
    def by_pika(self) -> float:
        """The relay's CPU for each event, as a multiple of pika's for encoding it."""
        return self.cpu_per_event / self.pika_encodes


def compare(  # noqa: PLR0913 - the sizes of a measurement
    box: Sandbox, *, kinds: Sequence[queues.Kind], rows: Sequence[int], events: int, pairs: int, window: int
) -> list[Comparison]:
    """Drain the same backlog by the relay and by the ceiling, `pairs` times each."""
    found = []
    for per_transaction in rows:
        with stage(box, window=window) as place:
            place.write_backlog(events, per_transaction=per_transaction)
            committed, frames = place.committed(), place.place / "frames"
            place.encode(frames)
            for kind in kinds:
                made = [_pair(place, kind, committed, frames, relay_first=n % 2 == 0) for n in range(pairs)]
                ratios = [pair.ratio for pair in made]
                found.append(Comparison(kind, per_transaction, events, made, ratios, figures.median(ratios)))
    return found


def cost(box: Sandbox, *, rows: Sequence[int], events: int, runs: int, window: int) -> list[Cost]:
    """Measure the relay's CPU while it drains into a classic queue; the sizes of transactions alternate."""
    with ExitStack() as stack:
        places = {per_transaction: stack.enter_context(stage(box, window=window)) for per_transaction in rows}
        committed: dict[int, list[str]] = {}
        for per_transaction, place in places.items():
            place.write_backlog(events, per_transaction=per_transaction)
            committed[per_transaction] = place.committed()
        made: dict[int, list[Drained]] = {per_transaction: [] for per_transaction in rows}
        pika_costs = [wire.cost()]
        for number in range(runs):
            for per_transaction in rows if number % 2 == 0 else reversed(rows):
                place = places[per_transaction]
                place.rewind()
                made[per_transaction].append(
                    drained(place, queues.Kind.CLASSIC, place.relay(), committed[per_transaction], every=_CPU_EVERY)
                )
                pika_costs.append(wire.cost())
    return [
        Cost(
            per_transaction,
            events,
            figures.median([run.cpu_per_event for run in runs_made]),
            figures.median(pika_costs),
            runs_made,
        )
        for per_transaction, runs_made in made.items()
    ]


def _pair(place: Stage, kind: queues.Kind, committed: Sequence[str], frames: Path, *, relay_first: bool) -> Pair:
    def relay() -> Drained:
        place.rewind()
        return drained(place, kind, place.relay(), committed, every=_EVERY)

    def ceiling() -> Drained:
        return drained(place, kind, place.ceiling(frames), committed, every=_EVERY)

    if relay_first:
        return Pair(relay=relay(), ceiling=ceiling())
    limit = ceiling()
    return Pair(relay=relay(), ceiling=limit)


def drained(
    place: Stage,
    kind: queues.Kind,
    starting: AbstractContextManager[Publisher],
    committed: Sequence[str],
    *,
    every: float,
) -> Drained:
    """Drain the `committed` events by the publisher that is `starting`; take a sample `every` so many seconds."""
    total = len(committed)
    wait_for_quiet(total)
    with place.queue("drain", kind) as queue:
        with starting as publisher:
            samples = Watch(place, publisher).until_confirmed(total, every=every * min(1, total / _SAMPLES_AT_LEAST))
        arrived = asyncio.run(queues.collect(place.amqp_url, queue, kind, expected=total))
        repeated = completeness.duplicates(committed, arrived)
    steady = figures.steady(samples, total)
    return Drained(
        events_per_second=steady.rate,
        cpu_per_event=steady.cpu["publisher"] / steady.events * _MICROSECONDS,
        cores=steady.cores,
        duplicates=repeated,
    )
