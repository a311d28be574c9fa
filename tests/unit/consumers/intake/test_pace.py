"""How many deliveries a consumer holds, by how long its handlers take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.intake.pace import Pace

CONCURRENCY, CAP = 8, 1000


def paced(*seconds: float) -> Pace:
    pace = Pace(concurrency=CONCURRENCY, cap=CAP)
    for each in seconds:
        pace.ran(each)
    pace.adjust()
    return pace


def test_it_begins_with_one_for_each_handler() -> None:
    pace = Pace(concurrency=CONCURRENCY, cap=CAP)
    assert not pace.adjust()
    assert pace.prefetch == CONCURRENCY


@pytest.mark.parametrize(
    ("seconds", "held"),
    [(0.000_01, CAP), (0.008, CAP), (0.08, 100), (0.4, 20), (1.0, CONCURRENCY), (3600, CONCURRENCY)],
)
def test_a_second_of_work_is_held(seconds: float, held: int) -> None:
    assert paced(*[seconds] * 50).prefetch == held


def test_what_was_remembered_is_no_measure_when_no_handler_begins_for_a_second() -> None:
    pace = paced(*[0.000_1] * 200)
    assert pace.prefetch == CAP
    assert not pace.adjust(stalled=0.9)
    assert pace.adjust(stalled=1.1)
    assert pace.prefetch == CONCURRENCY


def test_what_handlers_took_long_ago_is_forgotten() -> None:
    pace = paced(*[100.0] * 200)
    for _ in range(200):
        pace.ran(0.000_1)
    assert pace.adjust()
    assert pace.prefetch == CAP


@given(st.lists(st.floats(0, 100), max_size=600), st.floats(0, 100))
def test_it_stays_within_its_limits_and_is_not_changed_for_little(took: list[float], stalled: float) -> None:
    pace = Pace(concurrency=CONCURRENCY, cap=CAP)
    for each in took:
        before = pace.prefetch
        pace.ran(each)
        changed = pace.adjust(stalled)
        assert CONCURRENCY <= pace.prefetch <= CAP
        if not changed:
            assert pace.prefetch == before
        elif pace.prefetch not in (CONCURRENCY, CAP):
            assert pace.prefetch >= 2 * before or 2 * pace.prefetch <= before
