"""How many deliveries more are asked for, by how many wait for locked rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.intake.allowance import Allowance


@pytest.mark.parametrize(
    ("waiting", "prefetch", "more"),
    [(0, 8, 0), (2, 8, 0), (3, 8, 3), (8, 8, 8), (1, 1, 1), (20, 100, 0), (26, 100, 26)],
)
def test_as_many_more_as_wait_if_they_would_take_more_than_a_quarter(waiting: int, prefetch: int, more: int) -> None:
    assert Allowance().adjust(waiting, prefetch=prefetch, now=100) == more


def test_fewer_only_after_a_second_in_which_fewer_waited() -> None:
    allowance = Allowance()
    found = [
        allowance.adjust(waiting, prefetch=8, now=now)
        for now, waiting in ((10.0, 8), (10.5, 0), (10.9, 8), (11.5, 0), (11.8, 0), (12.0, 1), (12.1, 0), (13.5, 0))
    ]
    assert found == [8, 8, 8, 8, 8, 1, 1, 0]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200), st.integers(1, 50))
def test_three_quarters_of_the_pace_are_always_left_and_what_was_raised_stays_for_a_second(
    waiting: list[int], prefetch: int
) -> None:
    allowance = Allowance()
    before, raised_at = 0, 0.0
    for number, each in enumerate(waiting):
        now = 100 + number / 10
        more = allowance.adjust(each, prefetch=prefetch, now=now)
        assert 4 * (prefetch + more - each) >= 3 * prefetch
        if more > before:
            raised_at = now
        elif more < before:
            assert now - raised_at > 0.99
        before = more
    assert allowance.adjust(0, prefetch=prefetch, now=1000) == 0
