"""In which order the runs of a comparison are made, what each has, and how long it takes. Pure.

The seconds here were measured with the quick form on two cores; they need not be exact, since a comparison corrects
them by the pace of the runs that it has made.
"""

import random
from collections.abc import Iterator

from bench.compare.arms import Way
from bench.compare.planning.plan import Plan

_PREPARED = 3.0
"""A run's database, schema and queue, and its end."""
_STARTED = 4.5
"""A relay and a consumer, and the vacuums before and after."""
_EACH_FURTHER = 1.5
"""Another process of the arm."""
_STREAMS = 4.0
"""The first start of an arm that reads the WAL."""
_LOAD_BEGINS = 1.5
_PER_EVENT = 1 / 6000
_ONE_CONFIRM = 1 / 400
"""Seconds for an event of a drain."""
_WRITTEN, _JUDGED = 1 / 40_000, 1 / 30_000
"""Seconds for an event of a large transaction, until it commits; and afterwards, to compare it with what arrived."""
_BROKER_STARTS = 7.0
_RATES_TRIED = 4
"""Of those that there are: then the writers of two cores are the limit."""


def order(plan: Plan) -> Iterator[tuple[int, Way]]:
    """Yield every run: its repetition and its arm. Each repetition has its arms in an order that is drawn."""
    for repetition in range(plan.repetitions):
        draw = random.Random(f"{plan.seed} order {repetition}")  # noqa: S311 - for an order that can be repeated
        for way in draw.sample(plan.ways, len(plan.ways)):
            if repetition < repetitions(plan, way):
                yield repetition, way


def repetitions(plan: Plan, way: Way) -> int:
    """Return how many runs an arm has."""
    return min(plan.repetitions, plan.sizes.fewer.get(way.arm.name, plan.repetitions))


def long(plan: Plan, way: Way, repetition: int) -> bool:
    """Return whether this run has what takes long: the search for a rate, and incidents."""
    return way.relays and repetition < plan.sizes.long_runs


def watched(plan: Plan, way: Way, repetition: int) -> bool:
    """Return whether the arm is watched without events in this run."""
    sizes = plan.sizes
    return way.relays and sizes.idle_seconds > 0 and repetition < sizes.idle_runs and _chosen(sizes.idle_arms, way)


def cut_off(plan: Plan, way: Way) -> bool:
    """Return whether this arm has an outage of the broker; a peer has edges instead."""
    return way.peer is None and plan.sizes.outage_seconds > 0 and _chosen(plan.sizes.outage_arms, way)


def flooded(plan: Plan, way: Way) -> bool:
    """Return whether this arm has a large transaction; a peer has none."""
    return way.peer is None and plan.sizes.large_rows > 0 and _chosen(plan.sizes.large_arms, way)


def _chosen(names: tuple[str, ...] | None, way: Way) -> bool:
    return names is None or way.peer is not None or way.arm.name in names


def lasts(plan: Plan, way: Way) -> float:
    """Return how many seconds a load lasts: at least the time between two polls, so that it has every wait."""
    return max(plan.sizes.load_seconds, way.interval)


def expected(plan: Plan, way: Way, repetition: int) -> float:
    """Return about how many seconds a run takes."""
    loads = len(plan.workload.load) * (lasts(plan, way) + _LOAD_BEGINS + way.interval / 2)
    if not way.relays:
        return _PREPARED + loads
    seconds = _PREPARED + _STARTED + _EACH_FURTHER * (way.processes - 1) + loads
    seconds += _STREAMS * (way.arm.family == "wal")
    seconds += plan.sizes.slow_backlog * _ONE_CONFIRM if way.slow else plan.sizes.backlog * _PER_EVENT
    if way.control == "last_id":  # it misses events, so each load waits for them in vain
        seconds += (plan.sizes.patience + way.interval) * len(plan.workload.load)
    seconds += (plan.sizes.settle_seconds + plan.sizes.idle_seconds) * watched(plan, way, repetition)
    return seconds + _long(plan, way) * long(plan, way, repetition)


def _long(plan: Plan, way: Way) -> float:
    """Return the seconds of what is in the first repetitions only."""
    sizes, interval = plan.sizes, way.interval
    step = max(sizes.step_seconds, 2 * interval) + _LOAD_BEGINS + interval / 2
    seconds = min(len(plan.rates), _RATES_TRIED) * step * (way.peer is None)
    around = 2 * sizes.around_seconds + _LOAD_BEGINS + interval / 2
    if cut_off(plan, way):
        seconds += around + sizes.outage_seconds + _BROKER_STARTS
    if flooded(plan, way):
        published = min(sizes.large_rows * (_ONE_CONFIRM if way.slow else _PER_EVENT), sizes.at_most)
        seconds += around + published + sizes.large_rows * (_WRITTEN + _JUDGED)
    return seconds


def left(spent: float, made: float, remaining: float) -> float:
    """Return how many seconds are left, when what was expected to take `made` has taken `spent`."""
    return remaining * (spent / made if made else 1.0)


def fits(plan: Plan, spent: float, made: float, cost: float) -> bool:
    """Return whether a run that is expected to take `cost` ends within the time limit.

    It is taken to be as late as the runs so far, which were expected to take `made`, and never early.
    """
    if plan.at_most is None:
        return True
    return spent + max(cost, left(spent, made, cost)) <= plan.at_most - plan.sizes.reserve_seconds
