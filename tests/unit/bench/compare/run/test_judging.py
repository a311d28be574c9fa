"""What is made of the events of a load and of what arrived: planted faults are counted, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compare.results import APPLIED, CONFIRMED, Correctness, Step
from bench.compare.run import judging
from bench.compare.run.judging import Arrival, Event


def events(count: int, aggregates: int = 2) -> list[Event]:
    return [Event(f"e{n}", f"a{n % aggregates}", n // aggregates + 1, float(n), n + 0.25) for n in range(count)]


def arrivals(found: list[Event], after: float = 1.0) -> list[Arrival]:
    return [Arrival(event.id, event.committed_at + after, event.committed_at + after + 0.5) for event in found]


def test_what_arrives_once_and_in_order_is_correct() -> None:
    found = events(10)
    assert judging.correctness(found, arrivals(found)) == Correctness(10, 0, 0, 0)


def test_missing_doubled_and_late_events_are_counted_each_in_its_place() -> None:
    found = events(10)
    come = arrivals(found)
    come = [come[0], come[4], come[2], come[1], come[1], *come[5:9], Arrival("strange", 0, 0)]
    assert judging.correctness(found, come) == Correctness(10, missed=2, duplicated=1, reordered=1)


def test_what_is_not_there_when_the_time_is_over_is_unfinished_and_not_missed() -> None:
    found = events(10)
    come = arrivals(found)[:7]
    assert judging.correctness(found, come, unfinished=True) == Correctness(10, 0, 0, 0, unfinished=3)


@given(st.permutations(range(8)), st.sets(st.integers(0, 7)))
def test_only_the_order_within_an_aggregate_counts(order: list[int], lost: set[int]) -> None:
    found = events(8)
    come = [arrivals(found)[n] for n in order if n not in lost]
    for aggregate in ("a0", "a1"):
        versions = [found[n].version for n in order if n not in lost and found[n].aggregate == aggregate]
        late = sum(any(before > version for before in versions[:place]) for place, version in enumerate(versions))
        own = [event for event in found if event.aggregate == aggregate]
        assert judging.correctness(own, come).reordered == late
    assert judging.correctness(found, come).missed == len(lost)


def test_latencies_count_from_the_time_when_the_commit_was_due() -> None:
    found = [Event("a", "x", 1, due_at=10.0, committed_at=13.0)]
    seen = judging.latencies(found, {"a": Arrival("a", 14.0, 15.0)})
    assert seen[CONFIRMED].greatest == 4
    assert seen[APPLIED].greatest == 5


def test_the_first_of_two_arrivals_counts() -> None:
    assert judging.first([Arrival("a", 1, 2), Arrival("b", 2, 3), Arrival("a", 3, 4)])["a"].at == 1


def test_the_lag_is_the_age_of_the_oldest_event_that_has_not_arrived() -> None:
    found = [Event("a", "x", 1, 0, 0), Event("b", "x", 2, 1, 1), Event("c", "x", 3, 2, 2)]
    come = {"a": Arrival("a", 5, 5), "b": Arrival("b", 1.5, 2), "c": Arrival("c", 6, 6)}
    assert judging.lag(found, come, [-1, 0, 1, 4.5, 5, 5.5, 6, 7]) == [0, 0, 1, 4.5, 3, 3.5, 0, 0]


def test_an_event_that_never_arrives_makes_no_lag() -> None:
    found = [Event("a", "x", 1, 0, 0), Event("b", "x", 2, 1, 1)]
    assert judging.lag(found, {"b": Arrival("b", 3, 3)}, [2, 4]) == [1, 0]


def test_the_curve_ends_behind_the_last_arrival() -> None:
    found = [Event("a", "x", 1, 100, 100)]
    points = judging.curve(found, {"a": Arrival("a", 102, 102)}, 100, 0.5).points
    assert points[0] == (0, 0)
    assert points[3] == (1.5, 1.5)
    assert points[-1][0] >= 2
    assert points[-1][1] == 0


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0, 0), (1, 0), (2, 0)], 0),
        ([(0, 0), (1, 9), (2, 0), (3, 0)], 1),
        ([(0, 0), (1, 9), (2, 0), (3, 5), (4, 0)], 3),
        ([(0, 0), (1, 9), (2, 9)], None),
        ([], 0),
    ],
)
def test_it_has_caught_up_when_the_lag_stays_normal(points: list[tuple[float, float]], expected: float | None) -> None:
    assert judging.caught_up(points, since=1, normal=1) == expected


def test_a_rate_is_sustained_while_the_lag_at_its_end_is_about_the_interval() -> None:
    found = [Event(f"e{n}", "x", n, n / 10, n / 10) for n in range(100)]

    def at(delay: float) -> Step:
        come = {event.id: Arrival(event.id, event.committed_at + delay, 0) for event in found}
        return judging.step(found, come, 10, (0, 10), interval=1)

    assert at(0.5).bounded
    assert at(1.9).bounded
    assert not at(2.2).bounded
    assert at(2.2).achieved == 10
    assert at(2.05).confirmed == pytest.approx(8)
    assert not judging.limited_by_writers(at(0.5), 10)
    assert judging.limited_by_writers(at(0.5), 12)
