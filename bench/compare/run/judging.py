"""What became of the events of a load: latencies, lag, and which are missing, doubled or out of order. Pure."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bench.compare import distribution
from bench.compare.distribution import Distribution
from bench.compare.results import APPLIED, CONFIRMED, Correctness, Edge, Series, Step

NO_ID = "-"
"""In the place of a message id: the message has none."""
_REACHED = 0.9
"""Writers that reach less than this share of a rate are its limit."""
_SLACK = 1.0
"""Seconds of lag that are bounded, beside the time between two polls."""


class Event(NamedTuple):
    """An event that was committed. Times are seconds since 1970."""

    id: str
    aggregate: str
    version: int
    """Rises in the order in which the events of an aggregate were committed: its row is locked until then."""
    due_at: float
    """When the schedule wanted its transaction to commit."""
    committed_at: float


class Arrival(NamedTuple):
    """A message at the consumer, which a quorum queue delivers when it has confirmed it, and not before."""

    id: str
    at: float
    applied_at: float
    """When the transaction that applied it was committed."""
    message_id: str = ""
    """That of the message, if it is not the event's; `-` without one."""


def correctness(events: Sequence[Event], arrivals: Sequence[Arrival], *, unfinished: bool = False) -> Correctness:
    """Count what is wrong with the `arrivals` of `events`, in the order in which they came; others are left out.

    If they are `unfinished`, what is not there is not missed.
    """
    expected = {event.id: event for event in events}
    seen: set[str] = set()
    last: dict[str, int] = {}
    duplicated = reordered = 0
    for arrival in arrivals:
        event = expected.get(arrival.id)
        if event is None:
            continue
        if event.id in seen:
            duplicated += 1
            continue
        seen.add(event.id)
        reordered += event.version < last.get(event.aggregate, 0)
        last[event.aggregate] = max(event.version, last.get(event.aggregate, 0))
    absent = len(expected) - len(seen)
    missed, late = (0, absent) if unfinished else (absent, 0)
    return Correctness(len(events), missed=missed, duplicated=duplicated, reordered=reordered, unfinished=late)


def first(arrivals: Sequence[Arrival]) -> dict[str, Arrival]:
    """Return the first arrival of each id."""
    return {arrival.id: arrival for arrival in reversed(arrivals)}


def latencies(events: Sequence[Event], arrivals: Mapping[str, Arrival]) -> dict[str, Distribution]:
    """Return both latencies of the events that have arrived, from the time when they were to be committed."""
    there = [event for event in events if event.id in arrivals]
    return {
        CONFIRMED: distribution.of(arrivals[event.id].at - event.due_at for event in there),
        APPLIED: distribution.of(arrivals[event.id].applied_at - event.due_at for event in there),
    }


def lag(events: Iterable[Event], arrivals: Mapping[str, Arrival], at: Iterable[float]) -> list[float]:
    """Return the lag at each of the ascending times `at`: the age of the oldest event that has not arrived yet.

    An event that never arrives is left out: it is counted as missed, and its age says nothing of the others.
    """
    coming = sorted((event.committed_at, arrivals[event.id].at) for event in events if event.id in arrivals)
    waiting: list[tuple[float, float]] = []
    place, found = 0, []
    for now in at:
        while place < len(coming) and coming[place][0] <= now:
            heapq.heappush(waiting, coming[place])
            place += 1
        while waiting and waiting[0][1] <= now:
            heapq.heappop(waiting)
        found.append(now - waiting[0][0] if waiting else 0.0)
    return found


def times(begin: float, end: float, every: float) -> list[float]:
    """Return the times from `begin` to `end`, `every` seconds apart."""
    return [begin + number * every for number in range(int((end - begin) / every) + 1)]


def curve(events: Sequence[Event], arrivals: Mapping[str, Arrival], begin: float, every: float) -> Series:
    """Return the lag over time from `begin` on, until the last of them has arrived."""
    last = max((arrival.at for arrival in arrivals.values()), default=begin)
    at = times(begin, max(last, begin) + every, every)
    return Series("s", tuple((now - begin, value) for now, value in zip(at, lag(events, arrivals, at), strict=True)))


def caught_up(points: Sequence[tuple[float, float]], since: float, normal: float) -> float | None:
    """Return how long after `since` the lag is `normal`, or less, and stays so; None if it never is."""
    late = [at for at, value in points if at >= since and value > normal]
    if not late:
        return 0.0
    return next((at - since for at, _ in points if at > late[-1]), None)


def step(
    events: Sequence[Event], arrivals: Mapping[str, Arrival], offered: float, span: tuple[float, float], interval: float
) -> Step:
    """Judge one rate, which was `offered` in the time `span`: whether the lag at its end is bounded."""
    begin, end = span
    (late,) = lag(events, arrivals, [end])
    committed = sum(event.committed_at <= end for event in events)
    confirmed = sum(arrivals[event.id].at <= end for event in events if event.id in arrivals)
    return Step(
        offered=offered,
        achieved=committed / (end - begin),
        confirmed=confirmed / (end - begin),
        lag=late,
        bounded=late <= interval + _SLACK,
    )


def limited_by_writers(found: Step, scheduled: float) -> bool:
    """Return whether the writers were too slow for the rate of the schedule."""
    return found.achieved < _REACHED * scheduled


def edge(
    committed: Iterable[str],
    arrivals: Sequence[Arrival],
    aside: Iterable[str],
    *,
    redriven: Iterable[str] = (),
    restarts: int,
) -> Edge:
    """Count what became of events, by their ids: what was kept `aside`, and of that what was `redriven` and arrived."""
    wanted, kept = set(committed), set(aside)
    names: dict[str, set[str]] = {}
    same = otherwise = 0
    for arrival in arrivals:
        if arrival.id not in wanted:
            continue
        before = names.setdefault(arrival.id, set())
        known = arrival.message_id in before and arrival.message_id != NO_ID
        same += bool(before) and known
        otherwise += bool(before) and not known
        before.add(arrival.message_id)
    return Edge(
        committed=len(wanted),
        lost=len(wanted - names.keys() - kept),
        kept_aside=len(wanted & kept),
        redriven=len(wanted & kept & set(redriven) & names.keys()),
        duplicated=same,
        duplicated_otherwise=otherwise,
        restarts=restarts,
    )
