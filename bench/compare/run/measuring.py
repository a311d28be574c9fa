"""What one run measures without breaking anything: a drain, loads, the highest rate that is sustained, and idleness."""

import time

from msgspec.structs import replace
from psycopg.sql import SQL, Identifier

from bench.compare import wording
from bench.compare.planning.ordering import lasts
from bench.compare.planning.workload import Load, committed
from bench.compare.results import Figure, Phase, Series, Step
from bench.compare.run import judging, loading
from bench.compare.run.loading import Loaded
from bench.compare.run.reading import spending
from bench.compare.run.reading.sampling import Sampler
from bench.compare.run.scene import Scene, waited
from bench.instruments import figures
from bench.watch import wait_for_quiet

_SAMPLE_EVERY = 0.25
_CURVE_EVERY = 0.1


def drain(scene: Scene) -> Phase:
    """Let the arm start in front of a backlog, and measure how fast it publishes it; nobody else writes or reads."""
    sizes, after = scene.plan.sizes, scene.last_seq()
    events = sizes.slow_backlog if scene.way.slow else sizes.backlog
    scene.settle()
    scene.place.write_backlog(events, per_transaction=1)
    wait_for_quiet(events)
    before = scene.meter().read()
    scene.start()
    samples = scene.counting().until_counted(events, every=_SAMPLE_EVERY * min(1.0, events / 10_000))
    meter = scene.meter()
    spent = meter.read().since(before)
    scene.ready()
    scene.consume()
    found = scene.events(after, {}, {}, time.time())
    come = scene.arrived.until({event.id for event in found}, patience=sizes.patience, at_most=sizes.at_most)
    steady = figures.steady(samples, events)
    cost = steady.cpu["publisher"] / steady.events
    return Phase(
        "a backlog",
        "drain",
        figures={
            "drain_rate": Figure(steady.rate, "1/s"),
            **spending.for_each(spent, events, relays=False),
            "relay_cpu": Figure(cost, "s"),  # without the start of a process
        },
        unknown=spending.unknown(spent, "database_cpu"),
        correctness=judging.correctness(found, come.arrivals, unfinished=come.unfinished),
    )


def load(scene: Scene, wanted: Load, seed: str) -> Phase:
    """Measure the arm and the writers at a load."""
    meter = scene.meter()
    before = meter.read()
    with Sampler(scene.place) as samples:
        loaded = loading.run(scene, wanted, lasts(scene.plan, scene.way), seed)
    spent, relays = meter.read().since(before), scene.way.relays
    found = {**_writers(loaded), **spending.for_each(spent, len(loaded.events), relays=relays)}
    unknown = spending.unknown(spent, "database_cpu")
    if not relays:
        return Phase(wanted.name, "load", settings=wording.settings(wanted), figures=found, unknown=unknown)
    found["relay_rss"] = Figure(float(meter.resident()), "B")
    return Phase(
        wanted.name,
        "load",
        settings=wording.settings(wanted),
        figures=found,
        latencies=judging.latencies(loaded.events, loaded.first),
        series={**samples.series(loaded.begin), **lag(loaded)},
        correctness=judging.correctness(loaded.events, loaded.arrivals, unfinished=loaded.unfinished),
        unknown=unknown,
    )


def lag(loaded: Loaded, every: float = _CURVE_EVERY) -> dict[str, Series]:
    """Return the lag over time."""
    return {"lag": judging.curve(loaded.events, loaded.first, loaded.begin, every)}


def vacuum(scene: Scene) -> dict[str, Figure]:
    """Return what a vacuum of the relay's tables takes now."""
    tables = scene.place.execute("bench_compare_tables")
    before, began = scene.meter().read(), time.monotonic()
    with scene.place.connect() as connection:
        for schema, table in tables:
            connection.execute(SQL("VACUUM {}").format(Identifier(schema, table)))
    seconds = time.monotonic() - began
    wal_bytes = scene.meter().read().since(before).wal_bytes
    return {"vacuum_seconds": Figure(seconds, "s"), "vacuum_wal_bytes": Figure(float(wal_bytes), "B")}


def rates(scene: Scene, wanted: Load, seed: str) -> Phase:
    """Try one rate after the other until the lag is not bounded any more."""
    seconds = max(scene.plan.sizes.step_seconds, 2 * scene.way.interval)
    steps: list[Step] = []
    ended = "the highest rate that was tried"
    for rate in scene.plan.rates:
        tried = replace(wanted, name=f"{wanted.name}, {rate:g}", rate=rate, idle_every=0.0)
        loaded = loading.run(scene, tried, seconds, seed)
        span = loaded.begin, loaded.begin + seconds
        found = judging.step(loaded.events, loaded.first, rate, span, scene.way.interval)
        steps.append(found)
        if judging.limited_by_writers(found, committed(loaded.transactions) / seconds):
            ended = "the writers were too slow for the next rate"
            break
        if not found.bounded:
            ended = "the lag"
            break
    sustained = [step.achieved for step in steps if step.bounded]
    return Phase(
        "rising rates",
        "rates",
        settings={**wording.settings(wanted), "seconds of each rate": f"{seconds:g}", "ended by": ended},
        figures={"sustainable_rate": Figure(max(sustained), "1/s")} if sustained else {},
        steps=tuple(steps),
    )


def idle(scene: Scene) -> Phase:
    """Measure what the arm costs while nothing is written."""
    sizes, meter = scene.plan.sizes, scene.meter()
    waited(time.time() + sizes.settle_seconds, scene)
    before = meter.read()
    waited(time.time() + sizes.idle_seconds, scene)
    spent = meter.read().since(before)
    return Phase(
        "a minute without events",
        "idle",
        settings={"watched": f"{sizes.idle_seconds:g} s, counted for a minute"},
        figures=spending.idle(spent),
        unknown=spending.unknown(spent, "idle_database_cpu"),
    )


def _writers(loaded: Loaded) -> dict[str, Figure]:
    late = sorted(loaded.late)
    seconds = max(loaded.commits.values()) - loaded.begin
    return {
        "writer_commits": Figure(len(late) / seconds, "1/s"),
        "writer_commit_p50": Figure(figures.percentile(late, 50), "s"),
        "writer_commit_p99": Figure(figures.percentile(late, 99), "s"),
    }
