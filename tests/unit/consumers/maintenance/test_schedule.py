"""When a job runs next."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.maintenance.declaring.schedule import Cron, time_zone, until_next

FREQUENCIES = st.floats(0.1, 1e6)
TIMES = st.floats(0, 1e7)


@given(FREQUENCIES, TIMES)
def test_a_job_is_tried_at_whole_intervals_after_it_began_and_never_piles_up(frequency: float, elapsed: float) -> None:
    wait = until_next(frequency, elapsed)
    assert 0 < wait <= frequency
    intervals = (elapsed + wait) / frequency
    assert intervals == pytest.approx(round(intervals), abs=1e-6)


@given(FREQUENCIES, TIMES, TIMES)
def test_a_holder_that_runs_over_is_replaced_when_its_lock_ends_and_nobody_runs_early(
    frequency: float, elapsed: float, held: float
) -> None:
    wait = until_next(frequency, elapsed, held_until=held)
    assert 0 < wait <= until_next(frequency, elapsed)
    assert elapsed + wait >= frequency * (1 - 1e-9)
    if held > max(frequency, elapsed):
        assert elapsed + wait <= held * (1 + 1e-9)


def test_examples_of_both() -> None:
    assert until_next(10, 0.5) == 9.5
    assert until_next(10, 10) == 10
    assert until_next(10, 23) == 7
    assert until_next(10, 1, held_until=9) == 9  # done, and kept for the minimum
    assert until_next(10, 1, held_until=25) == 9  # it may end in time
    assert until_next(10, 21, held_until=25) == 4
    assert until_next(10, 11, held_until=50) == 9
    assert until_next(10, -86_400) == 10  # the database's clock was put back


BERLIN = ZoneInfo("Europe/Berlin")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


def test_a_cron_job_runs_at_its_times_in_its_zone() -> None:
    nightly = Cron("0 3 * * *")
    assert nightly.after(utc(2026, 1, 1, 2, 59, 59)) == utc(2026, 1, 1, 3)
    assert nightly.after(utc(2026, 1, 1, 3)) == utc(2026, 1, 2, 3)
    assert nightly.frequency(utc(2026, 1, 1, 3)) == 86_400
    assert Cron("0 3 * * *", BERLIN).after(utc(2026, 1, 1)) == utc(2026, 1, 1, 2)


def test_the_interval_of_a_cron_job_is_the_gap_to_its_next_time() -> None:
    twice = Cron("0 9,10 * * *")
    assert twice.frequency(utc(2026, 1, 1, 9)) == 3600
    assert twice.frequency(utc(2026, 1, 1, 10)) == 23 * 3600


def test_a_change_of_the_clocks_changes_the_gap_and_not_the_hour() -> None:
    nightly = Cron("30 4 * * *", BERLIN)
    before = nightly.after(utc(2026, 3, 28))
    assert before.astimezone(BERLIN).hour == 4
    assert nightly.frequency(before) == 23 * 3600
    assert nightly.after(before).astimezone(BERLIN).hour == 4
    autumn = nightly.after(utc(2026, 10, 24))
    assert nightly.frequency(autumn) == 25 * 3600


@pytest.mark.parametrize("on", [utc(2026, 3, 29), utc(2026, 10, 25)])
def test_where_the_clock_is_put_forward_or_back_a_job_of_that_hour_runs_once(on: datetime) -> None:
    inside = Cron("30 2 * * *", BERLIN)
    due, runs = on - timedelta(hours=12), []
    while (due := inside.after(due)) < on + timedelta(hours=12):
        runs.append(due)
    assert len(runs) == 1


@given(
    st.integers(0, 20 * 365 * 86_400).map(lambda seconds: utc(2020, 1, 1) + timedelta(seconds=seconds)),
    st.sampled_from(["*/5 * * * *", "0 3 * * 1", "7 7 1 * *"]),
)
def test_the_next_time_is_later_whatever_the_zone(time: datetime, expression: str) -> None:
    for zone in (UTC, BERLIN, ZoneInfo("Australia/Lord_Howe")):
        cron = Cron(expression, zone)
        due = cron.after(time)
        assert due > time
        assert cron.frequency(due) > 0


@pytest.mark.parametrize("expression", ["", "*", "60 * * * *", "0 3 * *", "never", "0 0 30 2 *"])
def test_what_is_no_cron_expression_is_refused_with_an_example(expression: str) -> None:
    with pytest.raises(ValueError, match=r'is no cron expression \(.+\): write five fields such as "0 3 \* \* \*"'):
        Cron(expression)


def test_utc_needs_no_time_zones_of_the_system() -> None:
    assert time_zone("UTC") is UTC
    for name in ("Mars/Olympus", "", "../etc"):
        with pytest.raises(ValueError, match="is no time zone of this system"):
            time_zone(name)
