"""The plan of a comparison, and the order of its runs."""

import pytest

from bench.compare import arms, ordering, plan
from bench.compare.plan import Asked
from bench.compare.workload import Load, Workload
from outboxkit.errors import ConfigurationProblem

QUICK = plan.made(Asked(quick=True), drawn=7, started_at="")
FULL = plan.made(Asked(), drawn=7, started_at="")


def test_each_repetition_has_every_arm_once_in_an_order_of_its_own() -> None:
    made = list(ordering.order(QUICK))
    rounds = [[way.arm.name for repetition, way in made if repetition == n] for n in range(QUICK.repetitions)]
    assert len(rounds) == 3
    assert all(sorted(each) == sorted(QUICK.arms) for each in rounds)
    assert len({tuple(each) for each in rounds}) == 3
    assert [repetition for repetition, _ in made] == sorted(repetition for repetition, _ in made)


def test_the_order_is_the_seeds() -> None:
    assert list(ordering.order(QUICK)) == list(ordering.order(QUICK))
    other = plan.made(Asked(quick=True), drawn=8, started_at="")
    assert list(ordering.order(QUICK)) != list(ordering.order(other))


def test_the_quick_form_is_expected_to_end_within_ten_minutes() -> None:
    seconds = sum(ordering.expected(QUICK, way, repetition) for repetition, way in ordering.order(QUICK))
    assert seconds < 570  # the servers start and the report is drawn in the rest
    assert QUICK.at_most is not None
    assert QUICK.at_most < 600


def test_what_takes_long_is_in_the_first_repetitions_only_and_never_without_a_relay() -> None:
    relay, none = arms.named("WAL (wal2json)"), arms.named("no relay")
    assert [ordering.long(FULL, relay, n) for n in range(5)] == [True, True, False, False, False]
    assert not ordering.long(FULL, none, 0)
    assert ordering.expected(FULL, relay, 0) > ordering.expected(FULL, relay, 4)


def test_the_quick_form_breaks_something_for_a_stream_and_for_a_poller() -> None:
    families = {way.arm.family for way in QUICK.ways if ordering.broken(QUICK, way)}
    assert families == {"wal", "polling"}
    assert all(ordering.broken(FULL, way) for way in FULL.ways)


def test_a_load_has_every_wait_between_two_polls() -> None:
    assert ordering.lasts(QUICK, arms.named("polling, 10 s")) == 10
    assert ordering.lasts(QUICK, arms.named("polling, notify")) == QUICK.sizes.load_seconds
    assert ordering.lasts(FULL, arms.named("polling, 10 s")) == FULL.sizes.load_seconds


def test_the_time_that_is_left_follows_the_pace_so_far() -> None:
    assert ordering.left(spent=0, made=0, remaining=100) == 100
    assert ordering.left(spent=20, made=10, remaining=100) == 200


def test_what_is_asked_for_wins_over_the_form() -> None:
    mine = Workload((Load("mine"),))
    made = plan.made(Asked(quick=True, seed=3, repetitions=2, workload=mine, rates=(5.0,)), drawn=7, started_at="")
    assert (made.seed, made.repetitions, made.workload, made.rates) == (3, 2, mine, (5.0,))
    assert made.sizes == plan.QUICK


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
