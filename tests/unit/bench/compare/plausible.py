"""Results of a comparison as a measurement could give them, drawn by a seed: what the tests of the report read."""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from bench.compare import distribution
from bench.compare.results import (
    APPLIED,
    CONFIRMED,
    LAG,
    RETAINED,
    TABLE,
    Arm,
    Correctness,
    Phase,
    Results,
    Run,
    Series,
    Step,
    Surroundings,
)
from tests.unit.bench.compare.planted import figure

STEADY, BURSTY = "even", "bursty"
OUTAGE = "broker down for 60 s"
LARGE = "a transaction of 1,000,000 rows"
DRAIN = "a backlog of 20,000 events"
RATES = "rising rates"
IDLE = "a minute without events"
WAL2JSON, PGOUTPUT = "WAL (wal2json)", "WAL (pgoutput)"
POLL_1S, NOTIFY = "polling, 1 s", "polling, notify"
LAST_ID, ONE_CONFIRM = "control: last id", "control: one confirm at a time"
NONE = "no relay"
_DOWN = 60.0
_STEP = 2.0
_OFFERED = (500, 1000, 2000, 4000, 8000, 16000)


@dataclass(frozen=True)
class Nature:
    """What an arm is like, before noise."""

    arm: Arm
    late: float = 0.002
    """Seconds to the confirm, at least; the half of an interval comes on top."""
    drain: float = 7000.0
    wal_bytes: float = 1.0
    dead: float = 0.001
    database_cpu: float = 20e-6
    relay_cpu: float = 40e-6
    idle_cpu: float = 0.2
    retained: float = 0.0
    """Bytes of WAL kept for each second of lag."""
    missed: int = 0
    reordered: int = 0
    commit: float = 0.0015
    """Seconds of a writer's median commit."""


def _snapshot(interval: float, name: str, *, notified: bool = False) -> Nature:
    arm = Arm(f"polling, {name}", "polling", interval=interval, notified=notified)
    return Nature(arm, late=0.008, drain=7300, idle_cpu=0.05 + 0.05 / interval)


def natures() -> list[Nature]:
    """Return the arms of the comparison."""
    return [
        Nature(Arm(NONE, "none")),
        Nature(Arm(WAL2JSON, "wal"), retained=400_000),
        Nature(Arm(PGOUTPUT, "wal"), retained=400_000),
        _snapshot(0.1, "100 ms"),
        _snapshot(1, "1 s"),
        _snapshot(10, "10 s"),
        _snapshot(10, "notify", notified=True),
        *(
            Nature(
                Arm(f"skip_locked, {pollers}", "polling", interval=1, ordered=pollers == "1 poller"),
                drain=4300,
                wal_bytes=757,
                dead=1,
                database_cpu=60e-6,
                reordered=0 if pollers == "1 poller" else 120,
                commit=0.0022,
            )
            for pollers in ("1 poller", "4 pollers")
        ),
        Nature(Arm(LAST_ID, "control", interval=0.1), drain=7500, missed=9, idle_cpu=0.5),
        Nature(Arm(ONE_CONFIRM, "control", interval=0.1), late=0.03, drain=900, wal_bytes=620, dead=1),
    ]


@dataclass
class Draw:
    """One comparison that is made up; every value has some noise."""

    seed: int = 1
    repetitions: int = 3
    noise: float = 0.03
    """Of each figure."""
    pace: float = 0.0
    """Of a whole run: how much the machine's speed changes from one to the next."""
    outliers: float = 0.0
    """The share of loads whose slowest events are twice as slow."""
    natures: list[Nature] = field(default_factory=natures)
    unmeasured: Collection[str] = ()
    events: int = 3000
    phases: Collection[str] = (STEADY, BURSTY, DRAIN, RATES, IDLE, OUTAGE, LARGE)
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def without(self, *arms: str) -> "Draw":
        """Return the same without some arms."""
        return replace(self, natures=[each for each in self.natures if each.arm.name not in arms])

    def changed(self, arm: str, change: Callable[[Nature], Nature]) -> "Draw":
        """Return the same with one arm of another nature."""
        return replace(self, natures=[change(each) if each.arm.name == arm else each for each in self.natures])

    def results(self) -> Results:
        """Return the results, the same each time."""
        self._random.seed(self.seed)
        surroundings = Surroundings(
            seed=self.seed,
            started_at="2026-11-27T23:00:00Z",
            repetitions=self.repetitions,
            quick=True,
            machine={"processor": "Testium 3000", "cores": "2"},
            versions={"postgres": "15.18", "rabbitmq": "3.10.8", "python": "3.11.2"},
            settings={"RELAY_MAX_IN_FLIGHT": "1000"},
            workload={"rates": "200", "payloads": "200 B, 2 kB", "rollbacks": "10 %"},
        )
        runs = [self._run(nature, number) for number in range(self.repetitions) for nature in self.natures]
        return Results(surroundings, tuple(each.arm for each in self.natures), tuple(runs))

    def _run(self, nature: Nature, number: int) -> Run:
        slower = self._random.lognormvariate(0, self.pace)
        nature = replace(
            nature, late=nature.late * slower, drain=nature.drain / slower, commit=nature.commit * slower,
            database_cpu=nature.database_cpu * slower, relay_cpu=nature.relay_cpu * slower,
            idle_cpu=nature.idle_cpu * slower,
        )  # fmt: skip
        if nature.arm.name in self.unmeasured:
            return Run(nature.arm.name, number, not_measured="it is not installed")
        if nature.arm.family == "none":
            return Run(nature.arm.name, number, (self._load(nature, STEADY, 1),))
        made = {
            STEADY: lambda: self._load(nature, STEADY, 1),
            BURSTY: lambda: self._load(nature, BURSTY, 3),
            DRAIN: lambda: self._drain(nature),
            RATES: lambda: self._rates(nature),
            IDLE: lambda: self._idle(nature),
            OUTAGE: lambda: self._incident(nature, OUTAGE, down=_DOWN, rows=12_000),
            LARGE: lambda: self._incident(nature, LARGE, down=0, rows=1_000_000),
        }
        return Run(nature.arm.name, number, tuple(made[phase]() for phase in self.phases))

    def _near(self, value: float) -> float:
        return value * self._random.lognormvariate(0, self.noise)

    def _late(self, nature: Nature, spread: float) -> float:
        draw = self._random
        waits = draw.uniform(0, nature.arm.interval or 0) if not nature.arm.notified else 0
        return waits + nature.late * draw.lognormvariate(0, 0.4 * spread)

    def _load(self, nature: Nature, name: str, spread: float) -> Phase:
        figures = {
            "writer_commits": figure("writer_commits", self._near(180 / spread)),
            "writer_commit_p50": figure("writer_commit_p50", self._near(nature.commit)),
            "writer_commit_p99": figure("writer_commit_p99", self._near(nature.commit * 6)),
        }
        if nature.arm.family == "none":
            return Phase(name, "load", figures=figures)
        slower = self._near(1)
        confirmed = sorted(self._late(nature, spread) * slower for _ in range(self.events))
        if self._random.random() < self.outliers:
            confirmed[-self.events // 20 :] = [2 * each for each in confirmed[-self.events // 20 :]]
        applied = [each + 0.002 * self._random.lognormvariate(0, 0.5) for each in confirmed]
        costs = {
            "database_cpu": self._near(nature.database_cpu * 20),
            "relay_cpu": self._near(nature.relay_cpu * 2.2),
            "relay_rss": self._near(70e6),
        }
        return Phase(
            name,
            "load",
            settings={"rate": "200 events/s", "arrivals": "bursty" if name == BURSTY else "poisson"},
            figures=figures | {key: figure(key, value) for key, value in costs.items()},
            latencies={CONFIRMED: distribution.of(confirmed), APPLIED: distribution.of(applied)},
            series={TABLE: self._series("B", 60, lambda at: 1e6 + 2e5 * min(at, 30))},
            correctness=Correctness(self.events, nature.missed, 0, nature.reordered),
        )

    def _drain(self, nature: Nature) -> Phase:
        costs = {
            "drain_rate": nature.drain,
            "database_cpu": nature.database_cpu,
            "wal_bytes": nature.wal_bytes,
            "tuples_read": 2 if nature.wal_bytes > 1 else 1,
            "dead_tuples": nature.dead,
            "buffers": 3 if nature.wal_bytes > 1 else 0.2,
            "vacuum_seconds": 0.2 + nature.dead,
            "vacuum_wal_bytes": 4000 + 1e6 * nature.dead,
            "relay_cpu": nature.relay_cpu,
        }
        found = {key: figure(key, self._near(value)) for key, value in costs.items()}
        return Phase(DRAIN, "drain", figures=found, correctness=Correctness(20_000, 0, 7, 0))

    def _rates(self, nature: Nature) -> Phase:
        most = self._near(nature.drain * 0.7)
        steps = []
        for offered in _OFFERED:
            bounded = offered <= most
            lag = self._near(nature.late) if bounded else self._near(10 * (1 - most / offered) + nature.late)
            steps.append(Step(offered, self._near(offered), min(offered, most), lag, bounded=bounded))
            if not bounded:
                break
        return Phase(RATES, "rates", figures={"sustainable_rate": figure("sustainable_rate", most)}, steps=tuple(steps))

    def _idle(self, nature: Nature) -> Phase:
        queries = 60 / nature.arm.interval if nature.arm.interval else 120
        costs = {"idle_relay_cpu": 0.6, "idle_database_cpu": nature.idle_cpu, "idle_queries": queries}
        return Phase(IDLE, "idle", figures={key: figure(key, self._near(value)) for key, value in costs.items()})

    def _incident(self, nature: Nature, name: str, *, down: float, rows: int) -> Phase:
        back = 10 + down
        catches_up = self._near(rows / nature.drain)
        peak = down or catches_up * 0.8

        def lag(at: float) -> float:
            if at <= 10:
                return nature.late
            if down and at <= back:
                return at - 10
            return max(nature.late, peak * (1 - (at - back) / catches_up))

        ends = back + catches_up + 20
        figures = {
            "peak_lag": figure("peak_lag", self._near(peak)),
            "catch_up": figure("catch_up", catches_up),
            "peak_retained_bytes": figure("peak_retained_bytes", self._near(nature.retained * peak)),
            "peak_table_growth": figure("peak_table_growth", self._near(400.0 * rows)),
        }
        return Phase(
            name,
            "outage" if down else "large",
            figures=figures,
            series={
                LAG: self._series("s", ends, lag),
                RETAINED: self._series("B", ends, lambda at: nature.retained * lag(at)),
            },
            marks={"broker down": 10.0, "broker up": back} if down else {"committed": 10.0},
            correctness=Correctness(rows, 0, 0, 0),
        )

    def _series(self, unit: str, seconds: float, value: Callable[[float], float]) -> Series:
        times = [_STEP * place for place in range(int(seconds / _STEP))]
        return Series(unit, tuple((at, self._near(value(at))) for at in times))
