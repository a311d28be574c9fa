"""The pace of `writers submit --rate`: never faster than the rate, for any number of writers."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from writers.pace import Pace

rates = some.floats(min_value=0.1, max_value=10_000)
batches = some.lists(
    some.tuples(some.integers(min_value=1, max_value=100), some.floats(min_value=0, max_value=5)),
    min_size=2,
    max_size=50,
)


@given(rate=rates, batches=batches)
def test_a_batch_starts_only_after_the_time_of_the_one_before_it(rate: float, batches: list[tuple[int, float]]) -> None:
    pace, now = Pace(rate), 0.0
    starts = []
    for tasks, pause in batches:
        now += pause
        starts.append((now + pace.delay(tasks, now=now), tasks))
    for (start, tasks), (following, _) in pairwise(starts):
        assert following - start >= tasks / rate * 0.999


def test_many_writers_share_one_rate() -> None:
    pace = Pace(50)
    assert [pace.delay(10, now=100) for _ in range(4)] == pytest.approx([0, 0.2, 0.4, 0.6])


def test_unused_time_is_not_made_up_for() -> None:
    pace = Pace(10)
    pace.delay(1, now=0)
    assert [pace.delay(1, now=60) for _ in range(2)] == pytest.approx([0, 0.1])


@given(tasks=some.integers(min_value=1), now=some.floats(min_value=0, max_value=1e9))
def test_without_a_rate_there_is_no_delay(tasks: int, now: float) -> None:
    assert Pace().delay(tasks, now=now) == 0
