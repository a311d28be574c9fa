"""What a comparison's report states, of differences and overlaps that are planted."""

from dataclasses import replace

import pytest
from msgspec import structs

from bench.compare import distribution
from bench.compare.findings import correctness, when_to_poll, writers
from bench.compare.findings.finding import Order
from bench.compare.findings.measures import Measured
from bench.compare.findings.ranking import rank
from bench.compare.findings.sections import sections, stated
from bench.compare.results import CONFIRMED, Arm, Correctness, Figure, Kind, Phase, Results, Run
from tests.unit.bench.compare import plausible
from tests.unit.bench.compare.planted import ARMS, NONE, OTHER, POLL, SURROUNDINGS, WAL, figure, planted, the
from tests.unit.bench.compare.plausible import LAST_ID, NOTIFY, ONE_CONFIRM, PGOUTPUT, POLL_1S, WAL2JSON, Draw

APART = {WAL: [100, 101, 102], POLL: [50, 51, 52], OTHER: [99, 100, 103]}
EQUAL = {WAL: [100, 101, 102], POLL: [98, 103, 101], OTHER: [99, 100, 103]}


@pytest.fixture(scope="module")
def comparison() -> Measured:
    return Measured(Draw(events=300).results())


def test_a_difference_that_is_there_is_stated_with_its_figures() -> None:
    measured = planted("drain_rate", APART)
    ranking = rank(measured, the(measured, "drain_rate"))
    assert ranking is not None
    finding = ranking.finding()
    assert finding.text == (
        f"Drain rate: {WAL} 101/s; no difference seen from {OTHER} 100/s. Worse: {POLL} 51/s (0.5 times)."
    )
    assert set(finding.orders) == {Order(the(measured, "drain_rate"), arm, POLL) for arm in (WAL, OTHER)}
    assert {(each.arm, each.estimate.value) for each in finding.figures} == {(WAL, 101), (OTHER, 100), (POLL, 51)}
    assert (
        ranking.title() == f"Drain rate (a part): 101/s with {WAL}, no difference seen from {OTHER}; 51/s with {POLL}"
    )


def test_where_less_is_better_the_least_is_best() -> None:
    measured = planted("wal_bytes", APART)
    ranking = rank(measured, the(measured, "wal_bytes"))
    assert ranking is not None
    assert ranking.best.arm == POLL
    assert {order.worse for order in ranking.finding().orders} == {WAL, OTHER}


def test_where_arms_overlap_no_difference_is_seen() -> None:
    measured = planted("drain_rate", EQUAL)
    ranking = rank(measured, the(measured, "drain_rate"))
    assert ranking is not None
    assert ranking.finding().text == "Drain rate: no difference seen between 3 arms, 100/s to 101/s."
    assert ranking.finding().orders == ()
    assert ranking.title() == "Drain rate (a part): no difference seen between 3 arms"


def test_one_repetition_states_no_difference() -> None:
    measured = planted("drain_rate", {arm: values[:1] for arm, values in APART.items()})
    ranking = rank(measured, the(measured, "drain_rate"))
    assert ranking is not None
    assert ranking.finding().orders == ()
    assert ranking.finding().text.endswith("One repetition, so no difference is stated.")
    assert ranking.title() == f"Drain rate (a part): 100/s with {WAL}; 50/s with {POLL}; measured once"


def test_an_arm_that_was_measured_once_does_not_hinder_the_others() -> None:
    measured = planted("drain_rate", APART | {OTHER: [7]})
    ranking = rank(measured, the(measured, "drain_rate"))
    assert ranking is not None
    text = f"Drain rate: {WAL} 101/s. Worse: {POLL} 51/s (0.5 times). Measured once, so not compared: {OTHER} 7/s."
    assert ranking.finding().text == text
    assert ranking.finding().orders == (Order(the(measured, "drain_rate"), WAL, POLL),)


def test_an_arm_that_missed_events_is_not_compared() -> None:
    measured = planted("drain_rate", APART, missed={WAL: 1})
    ranking = rank(measured, the(measured, "drain_rate"))
    assert ranking is not None
    assert ranking.best.arm == OTHER
    assert ranking.finding().text.endswith(f"Not compared, since events are missed: {WAL} 101/s.")
    assert all(WAL not in {order.better, order.worse} for order in ranking.finding().orders)


def test_an_arm_alone_is_not_ranked() -> None:
    measured = planted("drain_rate", {WAL: [1, 2, 3], NONE: [4, 5, 6]})
    assert rank(measured, the(measured, "drain_rate")) is None


def test_faults_are_counted_by_arm() -> None:
    measured = planted("drain_rate", APART, missed={POLL: 2})
    found = correctness.findings(measured)
    assert [finding.text for finding in found if finding.fault] == [f"{POLL} missed 6 of 3,000 events."]
    assert [finding.text for finding in found if not finding.fault] == [
        f"{WAL} and {OTHER}: none missed of 3,000 events or more for each."
    ]
    assert correctness.title(measured) == "Polling missed 6 of 3,000 events"


def test_an_arm_that_was_still_publishing_when_the_time_was_over_has_lost_nothing() -> None:
    measured = planted("drain_rate", {WAL: [1, 2], POLL: [1, 2]})
    run = measured.results.runs[0]
    late = [structs.replace(part, correctness=Correctness(1000, 0, 0, 0, unfinished=400)) for part in run.phases]
    runs = structs.replace(run, phases=tuple(late)), *measured.results.runs[1:]
    found = Measured(structs.replace(measured.results, runs=runs))
    (counted,) = [each for each in correctness.counted(found) if each.arm == run.arm]
    assert not counted.faulty
    assert correctness.verdict(counted) == "400 not finished"
    assert correctness.missing(found) == frozenset()
    assert any("400 of 2,000 events when the time was over" in each.text for each in correctness.findings(found))


def test_an_order_that_is_not_promised_cannot_be_broken(comparison: Measured) -> None:
    found = {each.arm: each for each in correctness.counted(comparison)}
    unordered = found["skip_locked, 4 pollers"]
    assert unordered.counts.reordered
    assert not unordered.faulty
    assert replace(unordered, ordered=True).faulty
    assert not replace(unordered, ordered=True, counts=Correctness(9, 0, 9, 0)).faulty


@pytest.mark.parametrize(
    ("name", "values", "better", "worse"),
    [("writer_commits", [50, 51, 52], NONE, WAL), ("writer_commit_p50", [150, 151, 152], NONE, WAL),
     ("writer_commit_p50", [50, 51, 52], WAL, NONE)],
)  # fmt: skip
def test_writers_are_compared_with_no_relay(name: str, values: list[float], better: str, worse: str) -> None:
    measured = planted(name, {WAL: values, POLL: [98, 103, 101], NONE: [100, 101, 102]}, kind="load")
    finding = writers.finding(measured, the(measured, name))
    assert finding is not None
    assert finding.orders == (Order(the(measured, name), better, worse),)
    assert finding.text.endswith("no difference seen with 1 other arm.")
    paying = f"Writers pay for {WAL}; with the others no cost was seen"
    nobody = "Writers: no difference seen between any relay and none"
    assert writers.title(measured, [the(measured, name)]) == (paying if worse == WAL else nobody)


def test_writers_with_an_arm_that_was_measured_once_are_compared_with_the_others() -> None:
    measured = planted("writer_commits", {WAL: [50, 51, 52], POLL: [7], NONE: [100, 101, 102]}, kind="load")
    finding = writers.finding(measured, the(measured, "writer_commits"))
    assert finding is not None
    assert finding.orders == (Order(the(measured, "writer_commits"), NONE, WAL),)
    assert finding.text == f"Commits of the writers: 101/s without a relay; different with {WAL} 51/s (0.5 times)."


def test_without_an_arm_that_relays_nothing_writers_are_not_compared() -> None:
    measured = planted("writer_commits", APART)
    assert writers.finding(measured, the(measured, "writer_commits")) is None


def test_two_comparisons_with_other_noise_state_the_same_orderings(comparison: Measured) -> None:
    again = Measured(Draw(seed=99, events=300).results())
    first, second = (
        {order for finding in stated(sections(each)) for order in finding.orders} for each in (comparison, again)
    )
    assert len(first) > 100
    assert not {order.reversed() for order in first} & (first | second)
    assert len(first & second) > 0.95 * len(first | second)


def test_the_comparison_tells_good_from_bad(comparison: Measured) -> None:
    assert correctness.missing(comparison) == {LAST_ID}
    measure = comparison.measure(plausible.DRAIN, "drain_rate")
    assert measure is not None
    ranking = rank(comparison, measure)
    assert ranking is not None
    assert ranking.worse[-1].arm == ONE_CONFIRM
    assert LAST_ID in {place.arm for place in ranking.left_out}


def test_polling_is_enough_where_it_is_in_time(comparison: Measured) -> None:
    within = {budget.seconds: set(budget.within) for budget in when_to_poll.budgets(comparison)}
    assert within[0.02] == set()
    assert within[0.1] == {WAL2JSON, PGOUTPUT}
    assert NOTIFY in within[0.5]
    assert POLL_1S not in within[0.5]
    assert POLL_1S in within[2]
    assert LAST_ID not in within[15]


def test_a_load_that_the_writers_alone_cannot_keep_says_nothing_of_an_arm() -> None:
    def load(name: str, writers: float) -> Measured:
        return Measured(
            Results(SURROUNDINGS, ARMS, tuple(
                Run(arm, number, (Phase(
                    name, "load", figures={"writer_commit_p99": Figure(writers, "s")},
                    latencies={} if arm == NONE else {CONFIRMED: distribution.of([late] * 100)},
                ),))
                for arm, late in ((WAL, 0.05), (POLL, 0.3), (NONE, 0.0)) for number in range(3)
            ))
        )  # fmt: skip

    late = {each.seconds: each for each in when_to_poll.budgets(load("hot", 0.06))}
    assert (late[0.1].left_out, late[0.1].within) == (("hot",), ())
    assert (late[0.5].left_out, late[0.5].within) == ((), (WAL, POLL))
    enough, *_ = when_to_poll.findings(load("hot", 0.2))[POLL]
    assert enough.text.endswith("the worst load (hot), at which the writers alone take 200 ms.")
    enough, *_ = when_to_poll.findings(load("even", 0.01))[POLL]
    assert enough.text.endswith("the worst load (even).")


def test_the_cheapest_arm_in_time_is_the_one_that_does_least_when_idle(comparison: Measured) -> None:
    cheapest = {budget.seconds: budget.cheapest for budget in when_to_poll.budgets(comparison)}
    assert set(cheapest[0.1]) == {WAL2JSON, PGOUTPUT}
    assert cheapest[0.02] == ()
    assert NOTIFY in cheapest[15]
    assert WAL2JSON not in cheapest[15]


def test_when_to_poll_names_where_it_is_better_and_where_worse(comparison: Measured) -> None:
    found = when_to_poll.findings(comparison)
    enough, better, worse, *_ = (finding.text for finding in found["skip_locked, 1 poller"])
    assert enough.startswith("Enough where an event may be 1.")
    assert "greatest retained WAL (0 B against" in better
    assert "WAL per event (7" in worse
    assert "drain rate (" in worse
    _, better_1s, worse_1s, *same_1s = found[POLL_1S]
    assert {order.better for order in better_1s.orders} == {POLL_1S}
    assert {order.worse for order in better_1s.orders} == {WAL2JSON, PGOUTPUT}
    assert worse_1s.text.startswith("Worse than the WAL: commit to confirmed, p50 (")
    assert any(each.text.startswith("No difference seen in CPU of Postgres per event") for each in same_1s)
    assert any("drain rate" in each.text and each.text.endswith(f"({plausible.DRAIN}).") for each in same_1s)


def test_a_way_of_polling_between_two_arms_of_the_wal_is_worse_than_the_better_one_only() -> None:
    draw = Draw(events=100, phases=(plausible.DRAIN,)).changed(PGOUTPUT, lambda nature: replace(nature, drain=500))
    orders = {order for found in when_to_poll.findings(Measured(draw.results())).values() for each in found
              for order in each.orders}  # fmt: skip
    assert orders
    assert not {order.reversed() for order in orders} & orders


def test_what_was_measured_once_is_not_said_to_be_the_same() -> None:
    measured = planted("idle_database_cpu", {WAL: [0.3], POLL: [0.1]}, kind="idle")
    texts = [finding.text for finding in when_to_poll.findings(measured)[POLL]]
    assert texts == [
        "Nowhere seen to be better than the WAL.",
        "Nowhere seen to be worse than the WAL.",
        "Measured once, so no difference is stated, in idle CPU of Postgres per minute (a part).",
    ]


def test_a_peer_that_varies_changes_nothing_of_what_is_said_of_ours() -> None:
    ours = planted("drain_rate", APART)
    peer = Arm("a peer", "peer")
    varied = tuple(
        Run(peer.name, number, (Phase("a part", "drain", figures={"drain_rate": figure("drain_rate", value)}),))
        for number, value in enumerate((10.0, 1000.0))
    )
    both = Measured(structs.replace(ours.results, arms=(*ARMS, peer), runs=(*ours.results.runs, *varied)))
    alone, beside = (measured.estimates(the(measured, "drain_rate")) for measured in (ours, both))
    assert {arm: beside[arm] for arm in alone} == alone
    assert beside[peer.name].repeated


def test_what_a_way_costs_is_told_at_a_load_and_in_a_backlog() -> None:
    """A relay that is woken for each event may cost more than one that polls, and the same in a backlog."""

    def phases(at_the_load: float) -> tuple[Phase, ...]:
        costs: dict[str, tuple[Kind, float]] = {"backlog": ("drain", 20e-6), "even": ("load", at_the_load)}
        return tuple(
            Phase(name, kind, figures={"relay_cpu": figure("relay_cpu", cost)}, correctness=Correctness(1000, 0, 0, 0))
            for name, (kind, cost) in costs.items()
        )

    runs = tuple(Run(arm, number, phases(cost)) for arm, cost in ((WAL, 800e-6), (POLL, 100e-6)) for number in range(3))
    better, _, same = when_to_poll.findings(Measured(Results(SURROUNDINGS, ARMS, runs)))[POLL]
    assert better.text == "Better than the WAL: CPU of the relay per event (100 µs against 800 µs; even)."
    assert same.text == "No difference seen in CPU of the relay per event (backlog)."


def test_the_cheapest_arm_is_not_named_by_one_repetition() -> None:
    once = Measured(Draw(events=100, repetitions=1, phases=(plausible.STEADY, plausible.IDLE)).results())
    assert {budget.cheapest for budget in when_to_poll.budgets(once)} == {()}
    assert any(budget.within for budget in when_to_poll.budgets(once))


def test_without_the_wal_nothing_is_said_of_when_to_poll() -> None:
    without = Draw(events=100, repetitions=2).without(WAL2JSON, PGOUTPUT)
    assert when_to_poll.findings(Measured(without.results())) == {}


def test_commits_are_not_compared_with_those_of_a_longer_load() -> None:
    """The load of an arm that polls every 10 s lasts 10 s, and has other pauses than one of 8 s."""
    measured = planted(
        "writer_commits", {NONE: [68, 68, 68], WAL: [68, 68, 68], POLL: [50, 50, 50], OTHER: [68, 68, 68]}, kind="load"
    )
    longer = Correctness(1389, 0, 0, 0)
    runs = tuple(
        structs.replace(run, phases=tuple(structs.replace(part, correctness=longer) for part in run.phases))
        if run.arm == POLL
        else run
        for run in measured.results.runs
    )
    found = writers.finding(Measured(structs.replace(measured.results, runs=runs)), the(measured, "writer_commits"))
    assert found is not None
    assert found.text == (
        "Commits of the writers: 68/s without a relay; no difference seen with any of 2 arms. "
        f"Not compared, since its load lasted longer: {POLL}."
    )
    assert found.orders == ()
    only = structs.replace(measured.results, runs=tuple(run for run in runs if run.arm in {NONE, POLL, OTHER}))
    found = writers.finding(Measured(only), the(measured, "writer_commits"))
    assert found is not None
    assert found.text.endswith(f"its load lasted longer: {POLL}.")
