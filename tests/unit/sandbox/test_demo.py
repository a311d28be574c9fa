"""The demo succeeds only if every task ended, none twice, and the relay has polled and gone back to the WAL."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from sandbox.demo.result import Composed, Counts, Result, Switch
from sandbox.demo.table import show

FIRST = Switch("polling", "wal", "first start")
AWAY = Switch("wal", "polling", "slot missing")
COUNTS = Counts(
    committed=10,
    published=12,
    duplicates_absorbed=2,
    applied_exactly_once=10,
    applied_twice=0,
    lost=0,
    latency_p50=1.0,
    latency_p95=None,
    latency_p99=3.0,
    events_per_second=100.0,
)
GOOD = Result(
    **vars(COUNTS),
    states={"cancelled": 1, "completed": 8, "dead": 1},
    not_accounted_for=0,
    effects_without_completion=0,
    ran_twice_at_one_version=0,
    runs_that_failed=7,
    tried_again=6,
    claims_given_back=3,
    cancelled_while_they_ran=0,
    audited=13,
    audited_missing=0,
    submitted_per_second=50.0,
    wal_seconds=7.0,
    polling_seconds=4.0,
    switches=[FIRST, AWAY, FIRST],
)
COMPOSED = Composed(**vars(COUNTS), killed="relay_1", taken_over_by="relay_2", takeover_seconds=0.94)


def test_it_is_clean_when_each_task_was_applied_once_and_the_relay_went_there_and_back() -> None:
    assert GOOD.clean


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, lost=1),
        replace(GOOD, applied_twice=1),
        replace(GOOD, committed=0),
        replace(GOOD, not_accounted_for=1),
        replace(GOOD, effects_without_completion=1),
        replace(GOOD, ran_twice_at_one_version=1),
        replace(GOOD, audited_missing=1),
        replace(GOOD, states={"completed": 9}),
        replace(GOOD, switches=[FIRST]),
        replace(GOOD, switches=[FIRST, AWAY]),
        replace(GOOD, switches=[]),
    ],
)
def test_it_is_not_clean_otherwise(bad: Result) -> None:
    assert not bad.clean


def test_the_table_tells_how_long_each_source_was_read_and_each_switch() -> None:
    printed = StringIO()
    show(GOOD, Console(file=printed, width=100))
    lines = [" ".join(line.strip(" │").split()) for line in printed.getvalue().splitlines()]
    for expected in ("read by WAL (s) │ 7", "read by polling (s) │ 4", "wal → polling │ slot missing", "lost │ 0"):
        assert expected in lines
    at = lines.index("committed │ 10")
    assert lines[at + 1 : at + 4] == ["of them cancelled │ 1", "of them completed │ 8", "of them dead │ 1"]


def test_the_demo_of_containers_is_clean_when_nothing_is_lost_or_applied_twice() -> None:
    assert COMPOSED.clean
    for bad in (replace(COMPOSED, lost=1), replace(COMPOSED, applied_twice=1), replace(COMPOSED, committed=0)):
        assert not bad.clean


def test_the_table_of_containers_names_both_relays_and_the_seconds_between() -> None:
    printed = StringIO()
    show(COMPOSED, Console(file=printed, width=100))
    lines = [" ".join(line.strip(" │").split()) for line in printed.getvalue().splitlines()]
    for expected in ("killed │ relay_1", "taken over by │ relay_2", "takeover (s) │ 0.9"):
        assert expected in lines
