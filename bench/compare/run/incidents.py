"""What an arm does when something goes wrong: RabbitMQ is away, or one transaction writes very many rows."""

import time
from collections.abc import Sequence

from bench.compare.planning.workload import Load
from bench.compare.results import RETAINED, TABLE, Correctness, Figure, Kind, Phase, Series
from bench.compare.run import judging, loading, measuring
from bench.compare.run.loading import Loaded
from bench.compare.run.reading.sampling import Sampler
from bench.compare.run.scene import Scene, waited
from outboxkit.errors import Problem

_NORMAL_LAG = 1.0
"""Seconds of lag that are normal, beside the time between two polls."""
_CURVE_EVERY = 0.25
_ROWS_PER_SECOND = 20_000
"""At least so many rows of a large transaction are written in a second, as a guess for how long the load lasts."""
_PATIENCE = 30.0
"""Seconds in which all have connected again: silence until then loses nothing."""
DOWN, UP = "broker down", "broker up"
WRITES, COMMITS = "transaction begins", "transaction commits"


def outage(scene: Scene, seed: str) -> Phase:
    """Stop RabbitMQ under a load, and start it again."""
    broker, sizes = scene.place.box.rabbitmq, scene.plan.sizes
    name = f"broker down for {sizes.outage_seconds:g} s"
    marks: dict[str, float] = {}

    def meanwhile(begin: float) -> None:
        waited(begin + sizes.around_seconds, scene)
        marks[DOWN] = time.time() - begin
        broker.stop()
        try:
            waited(begin + marks[DOWN] + sizes.outage_seconds, scene)
        finally:
            broker.start()
        marks[UP] = time.time() - begin

    try:
        broker.start()  # it runs, so this only tells whether it is ours to stop
    except Problem as problem:
        return Phase(name, "outage", not_measured=f"{problem.what}; {problem.remedy}")
    seconds = 2 * sizes.around_seconds + sizes.outage_seconds
    with Sampler(scene.place) as samples:
        loaded = loading.run(scene, _load(scene), seconds, seed, meanwhile, patience=_PATIENCE)
    return _phase(name, "outage", scene, loaded, samples.series(loaded.begin), marks, UP)


def large(scene: Scene, seed: str) -> Phase:
    """Write very many rows in one transaction, under a load."""
    sizes = scene.plan.sizes
    marks: dict[str, float] = {}

    def meanwhile(begin: float) -> float:
        waited(begin + sizes.around_seconds, scene)
        marks[WRITES] = time.time() - begin
        scene.place.execute("bench_backlog", events=sizes.large_rows, per_transaction=sizes.large_rows)
        marks[COMMITS] = time.time() - begin
        return begin + marks[COMMITS]

    seconds = 2 * sizes.around_seconds + sizes.large_rows / _ROWS_PER_SECOND
    with Sampler(scene.place) as samples:
        loaded = loading.run(scene, _load(scene), seconds, seed, meanwhile, patience=_PATIENCE)
    name = f"a transaction of {sizes.large_rows:,} rows"
    return _phase(name, "large", scene, loaded, samples.series(loaded.begin), marks, COMMITS)


def _load(scene: Scene) -> Load:
    return Load("around an incident", rate=scene.plan.sizes.outage_rate)


def _phase(  # noqa: PLR0913, PLR0917 - the parts of one phase
    name: str, kind: Kind, scene: Scene, loaded: Loaded, sampled: dict[str, Series], marks: dict[str, float], over: str
) -> Phase:
    curve = measuring.lag(loaded, _CURVE_EVERY)
    points = curve["lag"].points
    counts = judging.correctness(loaded.events, loaded.arrivals, unfinished=loaded.unfinished)
    found, unknown = _lateness(scene, points, marks[over], counts)
    retained = sampled[RETAINED].points if RETAINED in sampled else ()  # without a slot nothing is retained
    found["peak_retained_bytes"] = Figure(max((value for _, value in retained), default=0.0), "B")
    tables = [value for _, value in sampled[TABLE].points]
    found["peak_table_growth"] = Figure(max(tables) - tables[0], "B")
    return Phase(
        name,
        kind,
        settings={"rate": f"{scene.plan.sizes.outage_rate:g} events/s"},
        figures=found,
        latencies=judging.latencies(loaded.events, loaded.first),
        series={**sampled, **curve},
        marks=marks,
        correctness=counts,
        unknown=unknown,
    )


def _lateness(
    scene: Scene, points: Sequence[tuple[float, float]], over: float, counts: Correctness
) -> tuple[dict[str, Figure], dict[str, str]]:
    """Return how late events were, and after how long they were not any more; or why that is not known."""
    if absent := counts.unfinished or counts.missed:
        why = f"{scene.way.arm.name} had not published {absent:,} of {counts.committed:,} events"
        if counts.unfinished:
            why += f" after {scene.plan.sizes.at_most:g} s, and still published"
        return {}, {"peak_lag": why, "catch_up": why}
    found = {"peak_lag": Figure(max(value for _, value in points), "s")}
    late = judging.caught_up(points, over, scene.way.interval + _NORMAL_LAG)
    if late is not None:
        found["catch_up"] = Figure(late, "s")
    return found, {}
