"""The rate of a replay, on a clock of the test."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.sources.replay.pace import Pace


@given(st.floats(0.5, 20_000), st.lists(st.floats(0, 0.01), min_size=50, max_size=200))
def test_a_rate_is_kept_although_each_wait_takes_a_little_longer(rate: float, late: list[float]) -> None:
    pace, now, events = Pace(rate), 0.0, 0
    for more in late:
        now += pace.take(pace.slice, now) + more
        events += pace.slice
    due = (events - pace.slice) / rate
    assert due - 0.03 <= now <= due + 0.03


@given(st.floats(0.5, 20_000))
def test_after_a_pause_no_more_than_a_twentieth_of_a_second_comes_at_once(rate: float) -> None:
    pace = Pace(rate)
    pace.take(pace.slice, 0.0)
    at_once = 0
    while pace.take(pace.slice, 100.0) == 0:
        at_once += pace.slice
    assert at_once <= max(2, rate * 0.05)


def test_slices_are_small_and_never_empty() -> None:
    assert [Pace(rate).slice for rate in (0.5, 10, 100, 1000)] == [1, 1, 2, 25]


def test_the_first_events_wait_for_nothing() -> None:
    pace = Pace(10)
    assert pace.take(1, 5.0) == 0
    assert pace.take(1, 5.0) == pytest.approx(0.1)
