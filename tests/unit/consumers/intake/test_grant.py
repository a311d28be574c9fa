"""When deliveries that wait for locked rows lead to another subscription, and to how many deliveries of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.intake.grant import Grant


@pytest.mark.parametrize(
    ("waiting", "prefetch", "renewed"),
    [(0, 8, None), (2, 8, None), (3, 8, 8), (8, 8, 8), (1, 1, 1), (20, 100, None), (26, 100, 100), (950, 100, 50)],
)
def test_another_one_is_worth_it_for_more_than_a_quarter_and_has_as_many_as_there_is_room_for(
    waiting: int, prefetch: int, renewed: int | None
) -> None:
    assert Grant(prefetch).renew(prefetch, cap=1000, waiting=waiting, counted=min(waiting, prefetch)) == renewed


def test_it_follows_the_pace() -> None:
    grant = Grant(8)
    assert [grant.renew(each, cap=1000, waiting=0, counted=0) for each in (8, 1000, 900, 900, 8)] == [
        None, 1000, 900, None, 8,
    ]  # fmt: skip


def test_what_waits_of_earlier_subscriptions_does_not_count() -> None:
    grant = Grant(8)
    assert grant.renew(8, cap=1000, waiting=8, counted=8) == 8
    assert grant.renew(8, cap=1000, waiting=8, counted=0) is None
    assert grant.renew(8, cap=1000, waiting=16, counted=8) == 8


def test_there_is_no_other_one_at_the_cap_and_a_whole_one_when_the_rows_are_free() -> None:
    grant = Grant(8)
    assert grant.renew(8, cap=10, waiting=8, counted=8) == 2
    assert grant.renew(8, cap=10, waiting=10, counted=2) is None
    assert grant.renew(8, cap=10, waiting=0, counted=0) == 8


@given(st.lists(st.integers(0, 8), max_size=100), st.integers(8, 100))
def test_the_cap_is_kept_and_as_much_as_it_leaves_can_be_worked_on(locked: list[int], cap: int) -> None:
    """Of the deliveries of each subscription so many are locked, and stay so."""
    grant = Grant(8)
    granted, before = 8, 0
    for each in locked:
        counted = min(each, granted)
        renewed = grant.renew(8, cap=cap, waiting=before + counted, counted=counted)
        room = min(8, cap - before - counted)
        if renewed is None:
            assert room < 1 or 4 * (granted - counted) >= 3 * room
        else:
            before += counted
            granted = renewed
        assert before + granted <= cap
