"""A comparison against an earlier one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import pytest

from bench.compare.findings.against import Against, Agreement, agreement
from bench.compare.findings.sections import sections
from bench.compare.reporting.writing import compared
from bench.compare.results import Results
from tests.unit.bench.compare.planted import OTHER, POLL, WAL, planted
from tests.unit.bench.compare.plausible import DRAIN, PGOUTPUT, WAL2JSON, Draw, Nature

DRAWN = Draw(events=200).without("polling, 100 ms", "polling, notify", "skip_locked, 4 pollers")


def _against(now: Results, then: Results) -> Against:
    found = compared(now, then)
    assert found is not None
    return found


def test_a_comparison_agrees_with_itself() -> None:
    found = _against(DRAWN.results(), DRAWN.results())
    assert found.changes == ()
    assert found.surroundings == ()
    assert len(found.agreement.again) > 20
    assert found.agreement == Agreement(found.agreement.again, (), (), ())
    count = len(found.agreement.again)
    assert str(found).startswith(
        f"Of {count} orderings of the earlier comparison, {count} are stated again, 0 are not seen, "
        "0 are the other way round. "
    )
    assert found.compared > 200


def test_what_is_slower_now_is_worse() -> None:
    def slower(nature: Nature) -> Nature:
        return replace(nature, drain=nature.drain / 2)

    found = _against(DRAWN.changed(PGOUTPUT, slower).results(), DRAWN.results())
    change = next(each for each in found.changes if (each.arm, each.measure.name) == (PGOUTPUT, "drain_rate"))
    assert not change.better
    assert change.now.value < change.then.value * 0.7
    assert str(change).startswith(f"{PGOUTPUT}, drain rate ({DRAIN}): ")


def test_an_ordering_that_is_turned_round_is_named() -> None:
    def rate(events: float) -> Draw:
        return DRAWN.changed(WAL2JSON, lambda nature: replace(nature, drain=events))

    found = _against(rate(20_000).results(), rate(2000).results())
    turned = {(order.better, order.measure.name) for order in found.agreement.turned}
    assert (WAL2JSON, "drain_rate") in turned
    assert not set(found.agreement.turned) & set(found.agreement.again)


APART = {WAL: [100, 101, 102], POLL: [50, 51, 52], OTHER: [70, 71, 72]}


def _agreement(now: Mapping[str, Sequence[float]], missed: Mapping[str, int] = {}) -> Agreement:
    """Compare `now` with three arms of which each two are apart."""
    found = [planted("drain_rate", APART), planted("drain_rate", now, missed=missed)]
    then, later = ([finding for section in sections(each) for finding in section.findings] for each in found)
    return agreement(found[1], later, then)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (APART, "3 are stated again, 0 are not seen, 0 are the other way round."),
        (APART | {POLL: [99, 101, 103]}, "1 is stated again, 1 is not seen, 1 is the other way round."),
        (APART | {POLL: [200, 201, 202]}, "1 is stated again, 0 are not seen, 2 are the other way round."),
        ({WAL: APART[WAL], POLL: APART[POLL]},
         "1 is stated again, 0 are not seen, 0 are the other way round, 2 are not measured."),
        (APART | {POLL: [50]}, "1 is stated again, 0 are not seen, 0 are the other way round, 2 are not measured."),
    ],
    ids=["same", "unseen", "turned", "without an arm", "measured once"],
)  # fmt: skip
def test_it_is_counted_what_became_of_each_ordering(now: Mapping[str, Sequence[float]], said: str) -> None:
    assert str(_agreement(now)) == f"Of 3 orderings of the earlier comparison, {said}"


def test_an_arm_that_misses_events_now_has_no_ordering_any_more() -> None:
    found = _agreement(APART, missed={OTHER: 3})
    assert [order.worse for order in found.again] == [POLL]
    assert {(order.better, order.worse) for order in found.unmeasured} == {(WAL, OTHER), (OTHER, POLL)}


@pytest.mark.parametrize(("noise", "seed"), [(0.1, 1), (0.1, 2), (0.2, 3), (0.2, 4)])
def test_comparisons_of_the_same_truth_on_a_noisy_machine_do_not_contradict_each_other(noise: float, seed: int) -> None:
    """Each run is slower or faster by one factor, and a tenth of the latencies' tails is twice as long."""
    noisy = replace(DRAWN, noise=0.05, pace=noise, outliers=0.1)
    found = _against(replace(noisy, seed=seed).results(), replace(noisy, seed=seed + 100).results()).agreement
    assert found.turned == ()
    assert len(found.again) > 20
    assert len(found.again) > 2 * len(found.unseen)


def test_other_surroundings_are_named() -> None:
    then = DRAWN.results()
    other = msgspec.structs.replace(then.surroundings, seed=5, versions={"postgres": "17"}, machine={"cores": "64"})
    found = _against(then, msgspec.structs.replace(then, surroundings=other))
    assert found.surroundings == (
        "seed: 1, then 5",
        "processor: Testium 3000, then unknown",
        "cores: 2, then 64",
        "postgres: 15.18, then 17",
        "rabbitmq: 3.10.8, then unknown",
        "python: 3.11.2, then unknown",
    )


def test_nothing_is_compared_without_an_earlier_comparison() -> None:
    assert compared(DRAWN.results(), None) is None
