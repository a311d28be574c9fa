"""A workload and a plan in words, for people who read a report. Pure."""

from collections.abc import Callable

from bench.compare.arms import Way
from bench.compare.planning import ordering
from bench.compare.planning.plan import Plan
from bench.compare.planning.workload import Load, Workload, mean


def told(workload: Workload) -> dict[str, str]:
    """Return each load in words, by its name."""
    return {load.name: _told(load) for load in workload.load}


def settings(load: Load) -> dict[str, str]:
    """Return what a reader of the report needs to know of a load."""
    return {
        "rate": f"{load.rate:g} events/s",
        "arrivals": load.arrivals,
        "rows of a transaction": _shares(load.rows),
        "bytes of a payload": _shares(load.payload_bytes),
    }


def measured(plan: Plan) -> dict[str, str]:
    """Return what was measured, and how often, by its name."""
    sizes = plan.sizes
    fewer = [f"{ordering.repetitions(plan, way)} of {way.arm.name}" for way in plan.ways if _seldom(plan, way)]
    found = {
        "repetitions": "; ".join((str(plan.repetitions), *fewer)),
        "backlog": f"{sizes.backlog:,} events; {sizes.slow_backlog:,} for one confirm at a time",
        "each load": f"{sizes.load_seconds:g} s, or the time between two polls",
        "writers at most": str(plan.sessions),
    }
    if plan.rates:
        found["highest rate"] = (
            f"{sizes.step_seconds:g} s or two polls for each rate, {_first(sizes.long_runs)} each arm"
        )
    parts: tuple[tuple[str, str, int, Callable[[Way], bool]], ...] = (
        ("without events", f"{sizes.idle_seconds:g} s", sizes.idle_runs, lambda way: ordering.watched(plan, way, 0)),
        ("outage", f"{sizes.outage_seconds:g} s", sizes.long_runs, lambda way: ordering.cut_off(plan, way)),
        ("large transaction", f"{sizes.large_rows:,} rows", sizes.long_runs, lambda way: ordering.flooded(plan, way)),
    )
    for name, size, often, has in parts:
        arms = [way.arm.name for way in plan.ways if way.relays and has(way)]
        if arms:
            found[name] = f"{size}, {_first(often)} {'; '.join(arms)}"
    return found


def _first(repetitions: int) -> str:
    return "in the first repetition of" if repetitions == 1 else f"in the first {repetitions} repetitions of"


def _seldom(plan: Plan, way: Way) -> bool:
    return ordering.repetitions(plan, way) < plan.repetitions


def _told(load: Load) -> str:
    parts = [
        f"{load.rate:g} events/s",
        load.arrivals,
        f"rows: {_shares(load.rows)}",
        f"payload: {_shares(load.payload_bytes)} bytes",
        f"{load.open_share:.0%} of transactions stay open, {load.open_seconds:g} s on average",
        f"{load.rollbacks:.0%} are rolled back",
        f"{load.hot_share:.0%} write to {load.hot} of {load.aggregates} aggregates",
    ]
    if load.arrivals == "bursty":
        parts.append(f"{load.burst:g} transactions in a burst")
    if load.idle_every:
        parts.append(f"{load.idle_seconds:g} s of nothing after each {load.idle_every:g} s")
    return "; ".join(parts)


def _shares(weights: dict[int, float]) -> str:
    if len(weights) == 1:
        return f"{next(iter(weights)):,}"
    total = sum(weights.values())
    shares = ", ".join(f"{value:,} ({weight / total:.3g})" for value, weight in weights.items())
    return f"{shares}; mean {mean(weights):.4g}"
