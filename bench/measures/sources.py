"""The ways of reading the outbox side by side: the WAL, and polling; the same workload, in an order that is drawn.

For each way: how fast it drains a backlog, and what that costs the relay and the database; how long an event takes at a
fixed rate; and what it costs when nothing is written. All drains are of one backlog in one database. WAL and dead rows
are counted while it is drained, when nobody else writes, so they are the relay's own.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.instruments import completeness, figures, procfs
from bench.instruments.figures import Spread
from bench.load import arrivals, programs
from bench.load.queues import Kind
from bench.measures import drain
from bench.measures.drain import Drained
from bench.stage import Counters, Publisher, Stage, stage
from bench.watch import Watch, wait_for_quiet
from sandbox import Sandbox
from sandbox.machine.waiting import until

TARGET = 0.9
"""The least rate of a drain by snapshot polling, as a share of the WAL's."""
_KIND = Kind.QUORUM
"""It delivers what it has confirmed, and not before: so an arrival is behind the confirm."""
REPORTED_WITHIN = 11.0
"""Seconds after which a session that has become idle has told the server what it did: it does so within ten."""
_READY_SECONDS = 30.0
_LATE_SECONDS = 60.0
_MINUTE = 60.0
_MILLISECONDS = 1000
_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Way:
    """One way of reading the outbox."""

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """The relay's."""

    @property
    def polls(self) -> bool:
        """Whether it reads the table."""
        return self.settings["RELAY_SOURCE"] == "polling"

    @property
    def notified(self) -> bool:
        """Whether writers wake it."""
        return self.settings.get("RELAY_POLL_NOTIFY") == "true"


def _polling(name: str, **settings: str) -> Way:
    return Way(f"polling, {name}", {"RELAY_SOURCE": "polling", **settings})


WAL = Way("WAL", {"RELAY_SOURCE": "wal"})
WAYS = (
    WAL,
    _polling("100 ms", RELAY_POLL_INTERVAL="0.1"),
    _polling("1 s", RELAY_POLL_INTERVAL="1"),
    _polling("10 s", RELAY_POLL_INTERVAL="10"),
    _polling("10 s, notify", RELAY_POLL_INTERVAL="10", RELAY_POLL_NOTIFY="true"),
    _polling("1 s, skip_locked", RELAY_POLL_INTERVAL="1", RELAY_POLL_STRATEGY="skip_locked"),
)


@dataclass(frozen=True, slots=True)
class Drain:
    """One drain of the backlog, and what the database did for it."""

    drained: Drained
    wal_bytes: float
    """For each event."""
    dead_rows: float
    """For each event: rows that were updated or deleted."""


@dataclass(frozen=True, slots=True)
class Idle:
    """What a relay costs in a minute in which nothing is written."""

    transactions: float
    relay_cpu_ms: float
    postgres_cpu_ms: float


@dataclass(frozen=True, slots=True)
class Even:
    """A relay at an even load, and after it."""

    achieved: float
    """Events per second, as committed."""
    delivered_ms: Spread
    """Commit → confirmed and delivered."""
    duplicates: int
    idle: Idle


@dataclass(frozen=True, slots=True)
class Source:
    """Everything about one way."""

    way: str
    seed: int
    events: int
    rate: int
    drains: list[Drain]
    even: Even
    events_per_second: float
    """The medians of the drains, as the next four."""
    of_wal: float
    """The rate as a share of the WAL's."""
    cpu_per_event: float
    wal_bytes: float
    dead_rows: float


def compare(  # noqa: PLR0913 - the sizes of a measurement
    box: Sandbox, *, events: int, runs: int, rate: int, seconds: int, idle: int, window: int, seed: int,
    ways: Sequence[Way] = WAYS,
) -> list[Source]:  # fmt: skip
    """Measure each of `ways`, `runs` drains each; `seed` draws the order. The WAL must be among them."""
    draw = random.Random(seed)  # noqa: S311 - for an order that can be repeated
    drains: dict[str, list[Drain]] = {way.name: [] for way in ways}
    with stage(box, window=window) as place:
        place.write_backlog(events, per_transaction=1)
        committed = place.committed()
        for _ in range(runs):
            for way in draw.sample(ways, len(ways)):
                drains[way.name].append(_drain(place, way, committed))
    evens = {way.name: _even(box, way, rate, seconds, idle, window) for way in draw.sample(ways, len(ways))}
    rates = {name: figures.median([each.drained.events_per_second for each in made]) for name, made in drains.items()}
    return [
        Source(
            way=way.name,
            seed=seed,
            events=events,
            rate=rate,
            drains=(made := drains[way.name]),
            even=evens[way.name],
            events_per_second=rates[way.name],
            of_wal=rates[way.name] / rates[WAL.name],
            cpu_per_event=figures.median([each.drained.cpu_per_event for each in made]),
            wal_bytes=figures.median([each.wal_bytes for each in made]),
            dead_rows=figures.median([each.dead_rows for each in made]),
        )
        for way in ways
    ]


def _drain(place: Stage, way: Way, committed: Sequence[str]) -> Drain:
    _rewind(place, way)
    before = place.counters()
    drained = drain.drained(place, Kind.CLASSIC, place.relay(way.settings), committed, every=_EVERY)
    spent = place.counters() - before
    return Drain(drained, spent.wal_bytes / len(committed), spent.dead_rows / len(committed))


def _rewind(place: Stage, way: Way, *extras: str) -> None:
    place.rewind(*extras)
    if way.polls:
        place.poll_again()


def _even(box: Sandbox, way: Way, rate: int, seconds: int, idle: int, window: int) -> Even:  # noqa: PLR0913, PLR0917
    events = rate * seconds
    with stage(box, window=window) as place, place.queue("even", _KIND) as queue:
        _rewind(place, way, *(["--notify"] if way.notified else []))
        times = place.place / "times"
        times.unlink(missing_ok=True)
        arguments = {"amqp_url": place.amqp_url, "queue": queue, "events": events, "times": str(times)}
        with (
            programs.module(place.place, "bench.load.arrivals", arguments) as consumer,
            place.relay(way.settings) as relay,
        ):
            until(times.exists, what="the queue is consumed", seconds=_READY_SECONDS)
            until(relay.endpoint.ready, what="the relay is ready", seconds=_READY_SECONDS)
            wait_for_quiet(events)
            with place.even_load(rate, events) as writer:
                writer.finish(seconds=events / rate * 10 + _LATE_SECONDS)
            Watch(place, relay).until_confirmed(events, every=0.5)
            consumer.finish(seconds=_LATE_SECONDS)
            spent = _idle(place, relay, idle)
        commits = {str(event): float(at) for event, at in place.execute("bench_commits")}
    arrived = arrivals.read(times)
    repeated = completeness.duplicates(commits, [event for event, _ in arrived])
    first = dict(reversed(arrived))
    span = max(commits.values()) - min(commits.values())
    return Even(
        achieved=(events - 1) / span if span else 0.0,
        delivered_ms=figures.spread([(first[event] - at) * _MILLISECONDS for event, at in commits.items()]),
        duplicates=repeated,
        idle=spent,
    )


def _idle(place: Stage, relay: Publisher, seconds: int) -> Idle:
    """Return what `relay` costs in a minute, from `seconds` of watching it; nobody asks it anything meanwhile."""
    servers = place.postgres_pids()
    asyncio.run(asyncio.sleep(REPORTED_WITHIN))  # what was done before is not counted

    def now() -> tuple[Counters, float, float, float]:
        counters = place.counters()
        return counters, procfs.cpu([relay.program.pid]), procfs.cpu(servers), time.monotonic()

    before = now()
    asyncio.run(asyncio.sleep(seconds))
    relay.program.check()
    after = now()
    per_minute = _MINUTE / (after[3] - before[3])
    return Idle(
        transactions=(after[0] - before[0]).transactions * per_minute,
        relay_cpu_ms=(after[1] - before[1]) * _MILLISECONDS * per_minute,
        postgres_cpu_ms=(after[2] - before[2]) * _MILLISECONDS * per_minute,
    )
