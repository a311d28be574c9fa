"""What shadow mode costs the live stream: the same load with and without it, in pairs.

Three loads. `backlog` was written before the relay starts: the shadow begins behind it. `flood` is written as fast as
the server takes it, while the shadow compares: it falls behind, and must not slow the relay. `paced` is an even load,
of which the shadow compares each event.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from prometheus_client.parser import text_string_to_metric_families

from bench.instruments import completeness, figures, metrics, procfs
from bench.load import queues
from bench.load.queues import Kind
from bench.measures.drain import drained
from bench.measures.sources import WAL, Way
from bench.stage import Stage, stage
from bench.watch import Watch, wait_for_quiet
from sandbox import Sandbox
from sandbox.machine.waiting import until

BOUND = 1.1
"""The live stream may take so many times as long with a shadow."""
Load = Literal["backlog", "flood", "paced"]
_POLLING = Way("polling, 100 ms", {"RELAY_SOURCE": "polling", "RELAY_POLL_INTERVAL": "0.1"})
_WAYS = ((WAL, "polling"), (_POLLING, "wal"))
_AS_FAST_AS_IT_CAN = 1_000_000
_EVERY = 0.25
_READY_SECONDS = 30.0
_LATE_SECONDS = 120.0
_MICROSECONDS = 1e6
_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a relay."""

    events_per_second: float
    cpu_per_event: float
    """CPU microseconds of the relay, the shadow's included."""
    p50_ms: float | None
    """Commit → confirm; None for a backlog."""
    compared: int
    differences: int
    pauses: int


@dataclass(frozen=True, slots=True)
class Shadowed:
    """One load by one source, in pairs: without a shadow, and with it."""

    source: str
    shadow: str
    load: Load
    events: int
    without: list[Run]
    beside: list[Run]
    ratios: list[float]
    """For each pair: by how many times the live stream takes longer with a shadow."""
    ratio: float
    """The median of the ratios."""
    cpu_ratio: float


def compare(  # noqa: PLR0913 - the sizes of a measurement
    box: Sandbox, *, events: int, rate: int, seconds: int, pairs: int, window: int
) -> Iterator[Shadowed]:
    """Run each load by each source, `pairs` times with a shadow and as often without it, in turns."""
    for way, shadow in _WAYS:
        with stage(box, window=window) as place:
            place.write_backlog(events, per_transaction=1)
            committed = place.committed()
            made = [_pair(partial(_drain, place, way, committed), shadow, number) for number in range(pairs)]
        yield _shadowed(way, shadow, "backlog", events, made)
        loads: Sequence[tuple[Load, int, int]] = (
            ("flood", events, _AS_FAST_AS_IT_CAN),
            ("paced", rate * seconds, rate),
        )
        for load, count, per_second in loads:
            run = partial(_beside, box, way, count, per_second, window)
            yield _shadowed(way, shadow, load, count, [_pair(run, shadow, number) for number in range(pairs)])


def _pair(run: Callable[[str], Run], shadow: str, number: int) -> tuple[Run, Run]:
    """Run without and with `shadow`; every other pair begins with it."""
    runs = {each: run(each) for each in (("off", shadow) if number % 2 == 0 else (shadow, "off"))}
    return runs["off"], runs[shadow]


def _drain(place: Stage, way: Way, committed: Sequence[str], shadow: str) -> Run:
    _rewind(place, way)
    settings = {**way.settings, "RELAY_SHADOW": shadow}
    run = drained(place, Kind.CLASSIC, place.relay(settings), committed, every=_EVERY)
    return Run(run.events_per_second, run.cpu_per_event, None, 0, 0, 0)


def _beside(box: Sandbox, way: Way, events: int, rate: int, window: int, shadow: str) -> Run:  # noqa: PLR0913, PLR0917
    with stage(box, window=window) as place, place.queue("shadow", Kind.CLASSIC) as queue:
        _rewind(place, way)
        with place.relay({**way.settings, "RELAY_SHADOW": shadow}) as relay:
            until(relay.endpoint.ready, what="the relay is ready", seconds=_READY_SECONDS)
            if shadow != "off":
                until(
                    lambda: _sum(relay.endpoint.metrics(), "relay_shadow_comparing"),
                    what="the shadow compares",
                    seconds=_READY_SECONDS,
                )
            wait_for_quiet(events)
            watch = Watch(place, relay)
            watch.sample()
            with place.even_load(rate, events) as writer:
                samples = watch.until_confirmed(events, every=_EVERY)
                writer.finish(seconds=_LATE_SECONDS)
            if shadow != "off" and rate != _AS_FAST_AS_IT_CAN:
                until(
                    lambda: _sum(relay.endpoint.metrics(), "relay_shadow_compared_total") >= events,
                    what="all is compared",
                    seconds=_LATE_SECONDS,
                )
            text = relay.endpoint.metrics()
        arrived = asyncio.run(queues.collect(place.amqp_url, queue, Kind.CLASSIC, expected=events))
        completeness.duplicates(place.committed(), arrived)
    whole, steady = figures.between(samples[0], samples[-1]), figures.steady(samples, events)
    return Run(
        events_per_second=steady.rate,
        cpu_per_event=whole.cpu["publisher"] / events * _MICROSECONDS,
        p50_ms=figures.quantile({}, metrics.latency(text), 0.5) * _MILLISECONDS,
        compared=int(_sum(text, "relay_shadow_compared_total")),
        differences=int(_sum(text, "relay_shadow_difference_total")),
        pauses=int(_sum(text, "relay_shadow_pauses_total")),
    )


def _shadowed(way: Way, shadow: str, load: Load, events: int, made: Sequence[tuple[Run, Run]]) -> Shadowed:
    ratios = [_ratio(load, without, beside) for without, beside in made]
    tick = procfs.TICK / events * _MICROSECONDS  # CPU is counted in ticks, and few events take none
    return Shadowed(
        source=way.name,
        shadow=shadow,
        load=load,
        events=events,
        without=[without for without, _ in made],
        beside=[beside for _, beside in made],
        ratios=ratios,
        ratio=figures.median(ratios),
        cpu_ratio=figures.median(
            [max(beside.cpu_per_event, tick) / max(without.cpu_per_event, tick) for without, beside in made]
        ),
    )


def _ratio(load: Load, without: Run, beside: Run) -> float:
    if load == "paced" and without.p50_ms and beside.p50_ms:
        return beside.p50_ms / without.p50_ms
    return without.events_per_second / beside.events_per_second


def _rewind(place: Stage, way: Way) -> None:
    place.rewind()
    if way.polls:
        place.poll_again()


def _sum(text: str, name: str) -> float:
    """Return the sum of a metric's samples, whatever their labels."""
    families = text_string_to_metric_families(text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)
