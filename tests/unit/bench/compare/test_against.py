"""A comparison against an earlier one."""

from dataclasses import replace

import msgspec

from bench.compare.findings.against import Against
from bench.compare.reporting.writing import compared
from bench.compare.results import Results
from tests.unit.bench.compare.plausible import DRAIN, PGOUTPUT, WAL2JSON, Draw, Nature

DRAWN = Draw(events=200).without("polling, 100 ms", "polling, notify", "skip_locked, 4 pollers")


def _against(now: Results, then: Results) -> Against:
    found = compared(now, then)
    assert found is not None
    return found


def test_a_comparison_agrees_with_itself() -> None:
    found = _against(DRAWN.results(), DRAWN.results())
    assert found.changes == ()
    assert found.contradicted == ()
    assert found.surroundings == ()
    assert len(found.agreed) > 20
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
    turned = {(order.better, order.measure.name) for order in found.contradicted}
    assert (WAL2JSON, "drain_rate") in turned
    assert not set(found.contradicted) & set(found.agreed)


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
