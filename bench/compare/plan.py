"""What a comparison measures, and how long. Pure.

The quick form ends within ten minutes on two cores: one load, three repetitions, and what takes long once or not at
all. The full one takes hours.
"""

from msgspec import Struct

from bench.compare.arms import ALL, Way, named
from bench.compare.workload import Load, Workload


class Sizes(Struct, frozen=True):
    """How much of everything is measured in one run."""

    long_runs: int
    """How many repetitions have what takes long."""
    backlog: int
    """Events of the drain."""
    slow_backlog: int
    """The same, for the control that waits for each confirm."""
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
    backlog=8000,
    slow_backlog=1000,
    load_seconds=5,
    idle_seconds=4,
    settle_seconds=1,
    step_seconds=4,
    outage_seconds=5,
    outage_rate=100,
    around_seconds=2,
    large_rows=0,
    patience=8,
    at_most=60,
    incident_arms=("WAL (wal2json)", "polling, 1 s"),
)
FULL = Sizes(
    long_runs=2,
    backlog=50_000,
    slow_backlog=8000,
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


class Asked(Struct, frozen=True):
    """What somebody wants of a comparison; None: what its form has."""

    quick: bool | None = None
    seed: int | None = None
    repetitions: int | None = None
    arms: tuple[str, ...] | None = None
    workload: Workload | None = None
    rates: tuple[float, ...] | None = None
    """Ascending."""


def made(asked: Asked, *, drawn: int, started_at: str) -> Plan:
    """Return the plan of what is `asked`; the seed is the one that was `drawn` unless one is asked for."""
    quick = asked.quick or False
    return Plan(
        quick=quick,
        seed=drawn if asked.seed is None else asked.seed,
        started_at=started_at,
        repetitions=asked.repetitions or (QUICK_REPETITIONS if quick else FULL_REPETITIONS),
        arms=asked.arms or tuple(way.arm.name for way in ALL),
        workload=asked.workload or (QUICK_WORKLOAD if quick else FULL_WORKLOAD),
        rates=asked.rates or (QUICK_RATES if quick else FULL_RATES),
        sizes=QUICK if quick else FULL,
        at_most=QUICK_AT_MOST if quick else None,
    )


def agree(stored: Plan, asked: Asked) -> str | None:
    """Return the name of what is `asked` and not what is `stored`; None if all is the same."""
    names = (name for name in asked.__struct_fields__ if getattr(asked, name) is not None)
    return next((name for name in names if getattr(asked, name) != getattr(stored, name)), None)
