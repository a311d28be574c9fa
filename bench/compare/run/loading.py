"""Runs one load on a scene, and waits for what arrives of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.compare.load.writing import parts
from bench.compare.planning.workload import Load, Transaction, schedule
from bench.compare.run import judging
from bench.compare.run.judging import Arrival, Event
from bench.compare.run.scene import Scene

_BEGIN_AFTER = 1.0
"""By then the writers are connected."""
_LATE_SECONDS = 120.0
_LATE_TIMES = 4


@dataclass(frozen=True, slots=True)
class Loaded:
    """A load that was written, and what has arrived of it. Times are seconds since 1970."""

    begin: float
    transactions: list[Transaction]
    commits: Mapping[int, float]
    """When each of them was committed, by its number."""
    events: list[Event]
    arrivals: list[Arrival]
    unfinished: bool
    """Whether more would have arrived later."""

    @property
    def late(self) -> list[float]:
        """How long after it was due each transaction was committed."""
        return [at - self.begin - self.transactions[number].ends for number, at in self.commits.items()]

    @property
    def first(self) -> dict[str, Arrival]:
        """The first arrival of each id."""
        return judging.first(self.arrivals)


def run(  # noqa: PLR0913 - what a load is, and what is done beside it
    scene: Scene,
    load: Load,
    seconds: float,
    seed: str,
    meanwhile: Callable[[float], float | None] = lambda _: None,
    *,
    patience: float = 0.0,
) -> Loaded:
    """Write `load` for so many seconds.

    `meanwhile` is called with the time of the begin, and may return when events were committed that are not the
    schedule's. With `patience`, what has not arrived is waited for that long, if that is longer than usual.
    """
    transactions = schedule(load, seconds, seed)
    after = scene.last_seq()
    scene.arrived.forget()
    begin = time.time() + _BEGIN_AFTER
    with scene.write(parts(transactions, scene.plan.sessions), begin) as (writer, number):
        otherwise = meanwhile(begin)
        writer.finish(seconds=seconds * _LATE_TIMES + _LATE_SECONDS)
    commits = scene.commits(number)
    dues = {place: begin + each.ends for place, each in enumerate(transactions)}
    events = scene.events(after, dues, commits, begin if otherwise is None else otherwise)
    arrivals: list[Arrival] = []
    unfinished = False
    if scene.way.relays:
        scene.check()
        arrivals, unfinished = scene.arrived.until(
            {event.id for event in events},
            patience=max(patience, scene.plan.sizes.patience) + scene.way.interval,
            at_most=scene.plan.sizes.at_most,
        )
    return Loaded(begin, transactions, commits, events, arrivals, unfinished)
