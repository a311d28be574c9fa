"""The plan of a comparison, and the order of its runs."""

import msgspec
import pytest

from bench.compare import arms, wording
from bench.compare.planning import forms, ordering, plan
from bench.compare.planning.plan import Asked, Plan
from bench.compare.planning.workload import Load, Workload
from outboxkit.errors import ConfigurationProblem
from tests.unit.docs.markdown import ROOT

QUICK = plan.made(Asked(quick=True), drawn=7, started_at="")
FULL = plan.made(Asked(), drawn=7, started_at="")


def expected(made: Plan) -> float:
    return sum(ordering.expected(made, way, repetition) for repetition, way in ordering.order(made))


def test_each_repetition_has_its_arms_once_in_an_order_of_its_own() -> None:
    made = list(ordering.order(QUICK))
    rounds = [[way.arm.name for repetition, way in made if repetition == n] for n in range(QUICK.repetitions)]
    assert len(rounds) == 3
    assert sorted(rounds[0]) == sorted(QUICK.arms)
    assert len({tuple(each) for each in rounds}) == 3
    assert [repetition for repetition, _ in made] == sorted(repetition for repetition, _ in made)
    for way in QUICK.ways:
        assert sum(way.arm.name in each for each in rounds) == ordering.repetitions(QUICK, way)


def test_arms_that_take_long_or_need_no_more_have_fewer_repetitions_unless_somebody_asks_for_a_number() -> None:
    seldom = {way.arm.name for way in FULL.ways if ordering.repetitions(FULL, way) < FULL.repetitions}
    assert seldom == {"polling, 10 s", "control: last id", "control: one confirm at a time"}
    asked = plan.made(Asked(repetitions=4), drawn=7, started_at="")
    assert {ordering.repetitions(asked, way) for way in asked.ways} == {4}
    assert plan.agree(asked, Asked(repetitions=4)) is None


def test_the_order_is_the_seeds() -> None:
    assert list(ordering.order(QUICK)) == list(ordering.order(QUICK))
    other = plan.made(Asked(quick=True), drawn=8, started_at="")
    assert list(ordering.order(QUICK)) != list(ordering.order(other))


@pytest.mark.parametrize(("made", "minutes", "runs"), [(QUICK, 10, 8.5), (FULL, 90, 80)], ids=["quick", "full"])
def test_both_forms_are_expected_to_make_all_runs_well_within_their_time(
    made: Plan, minutes: float, runs: float
) -> None:
    assert made.at_most == minutes * 60
    assert expected(made) < runs * 60 < made.at_most - made.sizes.reserve_seconds


def test_a_run_is_begun_only_if_it_ends_in_time_at_the_pace_of_those_before() -> None:
    limit = (QUICK.at_most or 0) - QUICK.sizes.reserve_seconds
    assert ordering.fits(QUICK, spent=limit - 20, made=limit - 20, cost=20)
    assert not ordering.fits(QUICK, spent=limit - 20, made=limit - 20, cost=21)
    assert not ordering.fits(QUICK, spent=limit - 20, made=(limit - 20) / 2, cost=20)  # twice as slow as expected
    assert not ordering.fits(QUICK, spent=limit - 20, made=(limit - 20) * 2, cost=30)  # a fast one may be slow next
    endless = Plan(**{name: getattr(QUICK, name) for name in QUICK.__struct_fields__} | {"at_most": None})
    assert ordering.fits(endless, spent=1e6, made=1, cost=1e6)


def test_what_takes_long_is_in_the_first_repetition_only_and_never_without_a_relay() -> None:
    relay, none = arms.named("WAL (wal2json)"), arms.named("no relay")
    assert [ordering.long(FULL, relay, n) for n in range(3)] == [True, False, False]
    assert not ordering.long(FULL, none, 0)
    assert ordering.expected(FULL, relay, 0) > ordering.expected(FULL, relay, 2)


def test_the_quick_form_breaks_something_for_a_stream_and_for_a_poller() -> None:
    assert {way.arm.family for way in QUICK.ways if ordering.cut_off(QUICK, way)} == {"wal", "polling"}
    assert not any(ordering.flooded(QUICK, way) for way in QUICK.ways)


def test_the_full_form_breaks_something_for_both_plugins_and_both_strategies_of_polling() -> None:
    flooded = {way.arm.name for way in FULL.ways if ordering.flooded(FULL, way)}
    assert flooded == {"WAL (wal2json)", "WAL (pgoutput)", "polling, 100 ms", "skip_locked, 1 poller"}
    assert {way.arm.name for way in FULL.ways if ordering.cut_off(FULL, way)} == {*flooded, "polling, 10 s"}
    assert forms.FULL.outage_seconds == 60
    assert forms.FULL.large_rows == 1_000_000


def test_every_relay_but_the_controls_is_watched_without_events_in_the_full_form() -> None:
    often = {way.arm.name: [ordering.watched(FULL, way, n) for n in range(3)] for way in FULL.ways}
    relays = {way.arm.name for way in FULL.ways if way.arm.family in {"wal", "polling"}}
    assert {name for name, each in often.items() if each == [True, True, False]} == relays
    assert {name for name, each in often.items() if not any(each)} == {*often} - relays


def test_the_report_says_how_often_what_is_measured() -> None:
    said = wording.measured(FULL)
    assert said["repetitions"] == (
        "3; 2 of polling, 10 s; 1 of control: last id; 2 of control: one confirm at a time"
    )  # fmt: skip
    assert said["highest rate"] == "8 s or two polls for each rate, in the first repetition of each arm"
    assert said["without events"].startswith("20 s, in the first 2 repetitions of WAL (wal2json); WAL (pgoutput)")
    assert said["outage"].startswith("60 s, in the first repetition of WAL (wal2json); WAL (pgoutput); polling, 100 ms")
    assert said["large transaction"].startswith("1,000,000 rows, in the first repetition of WAL (wal2json)")
    assert "large transaction" not in wording.measured(QUICK)


def test_the_page_says_how_much_both_forms_measure() -> None:
    page = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| ")}
    times = {1: "once", 2: "twice", 3: "three times"}
    often = times[QUICK.repetitions], times[FULL.repetitions]
    sizes = forms.QUICK, forms.FULL
    for has, each in zip(rows["a backlog"].split("|")[2:], zip(often, sizes, strict=True), strict=False):
        assert f"{each[0]}, of {each[1].backlog:,} events" in has
    assert f"one mixed load of {forms.QUICK.load_seconds:g} s" in rows["loads"]
    assert f"seven loads of {forms.FULL.load_seconds:g} s" in rows["loads"]
    assert len(FULL.workload.load) == 7
    outages = [f"{times[each.long_runs]}, of {each.outage_seconds:g} s" for each in sizes]
    assert all(each in rows["an outage"] for each in outages)
    assert f"| {times[forms.FULL.long_runs]} |" in rows["the highest rate"]


def test_a_load_has_every_wait_between_two_polls() -> None:
    assert ordering.lasts(QUICK, arms.named("polling, 10 s")) == 10
    assert ordering.lasts(QUICK, arms.named("polling, notify")) == QUICK.sizes.load_seconds
    assert ordering.lasts(FULL, arms.named("polling, 1 s")) == FULL.sizes.load_seconds


def test_the_time_that_is_left_follows_the_pace_so_far() -> None:
    assert ordering.left(spent=0, made=0, remaining=100) == 100
    assert ordering.left(spent=20, made=10, remaining=100) == 200


def test_what_is_asked_for_wins_over_the_form() -> None:
    mine = Workload((Load("mine"),))
    made = plan.made(Asked(quick=True, seed=3, repetitions=2, workload=mine, rates=(5.0,)), drawn=7, started_at="")
    assert (made.seed, made.repetitions, made.workload, made.rates) == (3, 2, mine, (5.0,))
    assert made.sizes == msgspec.structs.replace(forms.QUICK, fewer={})


def test_only_what_is_asked_for_must_agree() -> None:
    assert plan.agree(QUICK, Asked()) is None
    assert plan.agree(QUICK, Asked(quick=True, seed=7)) is None
    assert plan.agree(QUICK, Asked(quick=False)) == "quick"
    assert plan.agree(QUICK, Asked(seed=8)) == "seed"


def test_arms_are_chosen_by_parts_of_their_names() -> None:
    assert [way.arm.name for way in arms.chosen(["WAL", "one confirm"])] == [
        "WAL (wal2json)", "WAL (pgoutput)", "control: one confirm at a time",
    ]  # fmt: skip
    assert arms.chosen([]) == arms.ALL
    with pytest.raises(ConfigurationProblem, match="no arm has 'wall'"):
        arms.chosen(["wall"])


def test_every_arm_has_a_file_name_of_its_own() -> None:
    assert len({way.slug for way in arms.ALL}) == len(arms.ALL)
    assert arms.named("skip_locked, 4 pollers").slug == "skip-locked--4-pollers"
