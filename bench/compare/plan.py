"""What a comparison measures, how long, and in which order. Pure.

The quick form ends within ten minutes on two cores: one load, three repetitions, and what takes long once or not at
all. The full one takes hours.
"""

import random
from collections.abc import Iterator, Sequence

from msgspec import Struct

from bench.compare.arms import Way, named
from bench.compare.workload import Load, Workload

_SETUP_SECONDS = 7.0
_PER_EVENT = 1 / 4000
_ONE_CONFIRM = 1 / 400
"""Seconds for an event of a drain, as a guess for the time that is left."""
_RESTART_SECONDS = 10.0
"""Of RabbitMQ."""


class Sizes(Struct, frozen=True):
    """How much of everything is measured in one run."""

    long_runs: int
    """How many repetitions have what takes long."""
    backlog: int
    """Events of the drain."""
    load_seconds: float
    idle_seconds: float
    """Of watching a relay without events; 0: it is not watched."""
    settle_seconds: float
    """Before that, until sessions have told the server what they did."""
    step_seconds: float
    """Of each rate, in the search for the highest; twice the interval of a poller at least."""
    outage_seconds: float
    """0: the broker stays up."""
    outage_rate: float
    """Events per second of the load around an outage, and around a large transaction."""
    around_seconds: float
    """How long that load runs before what happens, and after it."""
    large_rows: int
    """Events of the large transaction; 0: there is none."""
    patience: float
    """Seconds after which what has not arrived is given up, if nothing else arrives."""
    at_most: float
    """Seconds after which it is given up even if something arrives."""
    incident_arms: tuple[str, ...] | None = None
    """The arms with an outage and a large transaction; None: all."""


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole comparison; what is stored beside its runs, so that it can go on."""

    quick: bool
    seed: int
    started_at: str
    """ISO 8601, UTC."""
    repetitions: int
    arms: tuple[str, ...]
    workload: Workload
    rates: tuple[float, ...]
    """Events per second, ascending: tried in the search for the highest that is sustained."""
    sizes: Sizes
    window: int = 1000
    sessions: int = 16
    """Writers at the same time, at most."""
    at_most: float | None = None
    """Seconds after which no other run is begun."""

    @property
    def ways(self) -> tuple[Way, ...]:
        """The arms."""
        return tuple(map(named, self.arms))


_MIXED = {1: 0.98, 100: 0.02}
_BYTES = {200: 0.9, 2000: 0.09, 50_000: 0.01}
QUICK_WORKLOAD = Workload((
    Load("mixed", rate=300, rows=_MIXED, payload_bytes=_BYTES, hot_share=0.2, open_share=0.2),
))  # fmt: skip
FULL_WORKLOAD = Workload((
    Load("even", rate=200),
    Load("bursty", rate=200, arrivals="bursty"),
    Load("100 rows in each transaction", rate=1000, rows={100: 1.0}),
    Load("payloads of 2 kB", rate=200, payload_bytes={2000: 1.0}),
    Load("payloads of 50 kB", rate=50, payload_bytes={50_000: 1.0}),
    Load("hot aggregates", rate=200, hot_share=0.8, open_share=0.2),
    Load("mixed, with pauses", rate=300, arrivals="bursty", rows=_MIXED, payload_bytes=_BYTES, hot_share=0.2,
         open_share=0.2, idle_every=5, idle_seconds=5),
))  # fmt: skip
QUICK_RATES: tuple[float, ...] = ()
FULL_RATES = (250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
QUICK_REPETITIONS, FULL_REPETITIONS = 3, 5
QUICK_AT_MOST = 530.0
QUICK = Sizes(
    long_runs=1,
    backlog=3000,
    load_seconds=5,
    idle_seconds=6,
    settle_seconds=0,
    step_seconds=4,
    outage_seconds=5,
    outage_rate=100,
    around_seconds=3,
    large_rows=0,
    patience=4,
    at_most=60,
    incident_arms=("WAL (wal2json)", "polling, 1 s"),
)
FULL = Sizes(
    long_runs=3,
    backlog=50_000,
    load_seconds=30,
    idle_seconds=60,
    settle_seconds=11,
    step_seconds=15,
    outage_seconds=60,
    outage_rate=200,
    around_seconds=10,
    large_rows=1_000_000,
    patience=20,
    at_most=900,
)


def order(plan: Plan) -> Iterator[tuple[int, Way]]:
    """Yield every run: its repetition and its arm. Each repetition has all arms, in an order that is drawn."""
    for repetition in range(plan.repetitions):
        draw = random.Random(f"{plan.seed} order {repetition}")  # noqa: S311 - for an order that can be repeated
        for way in draw.sample(plan.ways, len(plan.ways)):
            yield repetition, way


def long(plan: Plan, way: Way, repetition: int) -> bool:
    """Return whether this run has what takes long: the search for a rate, a minute without events, and incidents."""
    return way.relays and repetition < plan.sizes.long_runs


def broken(plan: Plan, way: Way) -> bool:
    """Return whether this arm has an outage and a large transaction."""
    return plan.sizes.incident_arms is None or way.arm.name in plan.sizes.incident_arms


def expected(plan: Plan, way: Way, repetition: int) -> float:
    """Return about how many seconds a run takes."""
    sizes, interval = plan.sizes, 0.0 if way.arm.notified else way.arm.interval or 0.0
    loads = len(plan.workload.load) * (sizes.load_seconds + (2 + interval) * way.relays)
    if not way.relays:
        return _SETUP_SECONDS + loads
    each = _ONE_CONFIRM if way.control == "one_confirm" else _PER_EVENT
    seconds = _SETUP_SECONDS + loads + sizes.backlog * each
    if way.control == "last_id":
        seconds += sizes.patience * len(plan.workload.load)
    if not long(plan, way, repetition):
        return seconds
    seconds += sizes.settle_seconds + sizes.idle_seconds
    seconds += len(plan.rates) * (max(sizes.step_seconds, 2 * interval) + 2 + interval)
    if broken(plan, way):
        seconds += (2 * sizes.around_seconds + sizes.outage_seconds + _RESTART_SECONDS) * (sizes.outage_seconds > 0)
        seconds += sizes.large_rows * each + 2 * sizes.around_seconds * (sizes.large_rows > 0)
    return seconds


def left(spent: float, made: float, remaining: float) -> float:
    """Return how many seconds are left, when what was expected to take `made` has taken `spent`."""
    return remaining * (spent / made if made else 1.0)


def in_order(rates: Sequence[float]) -> tuple[float, ...]:
    """Return rates ascending, each once."""
    return tuple(sorted(set(rates)))
