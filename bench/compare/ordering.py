"""In which order the runs of a comparison are made, what each has, and how long it takes. Pure."""

import random
from collections.abc import Iterator

from bench.compare.arms import Way
from bench.compare.plan import Plan

_SETUP_SECONDS = 5.0
_PER_EVENT = 1 / 6000
_ONE_CONFIRM = 1 / 400
"""Seconds for an event of a drain, as a guess for the time that is left."""
_RESTART_SECONDS = 10.0
"""Of RabbitMQ."""


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
    """Return whether this arm has an outage and a large transaction; a peer has edges instead."""
    return way.peer is None and (plan.sizes.incident_arms is None or way.arm.name in plan.sizes.incident_arms)


def lasts(plan: Plan, way: Way) -> float:
    """Return how many seconds a load lasts: at least the time between two polls, so that it has every wait."""
    return max(plan.sizes.load_seconds, way.interval)


def expected(plan: Plan, way: Way, repetition: int) -> float:
    """Return about how many seconds a run takes."""
    sizes, interval = plan.sizes, way.interval
    loads = len(plan.workload.load) * (lasts(plan, way) + (1.5 + interval / 2) * way.relays)
    if not way.relays:
        return _SETUP_SECONDS + loads
    each = _ONE_CONFIRM if way.slow else _PER_EVENT
    seconds = _SETUP_SECONDS + loads + (sizes.slow_backlog if way.slow else sizes.backlog) * each
    if way.control == "last_id":
        seconds += sizes.patience * len(plan.workload.load)
    if not long(plan, way, repetition):
        return seconds
    seconds += sizes.settle_seconds + sizes.idle_seconds
    seconds += len(plan.rates) * (max(sizes.step_seconds, 2 * interval) + 2 + interval)
    if broken(plan, way):
        seconds += (2 * sizes.around_seconds + sizes.outage_seconds + _RESTART_SECONDS) * (sizes.outage_seconds > 0)
        seconds += min(sizes.large_rows * each, sizes.at_most) + 2 * sizes.around_seconds * (sizes.large_rows > 0)
    return seconds


def left(spent: float, made: float, remaining: float) -> float:
    """Return how many seconds are left, when what was expected to take `made` has taken `spent`."""
    return remaining * (spent / made if made else 1.0)
