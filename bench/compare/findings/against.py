"""This comparison against an earlier one: figures that changed, and orderings that both state. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.compare.findings.finding import Finding, Order
from bench.compare.findings.measures import STATED, Measure, Measured
from bench.compare.findings.phrasing import plural, stated
from bench.compare.findings.statistics import Estimate, differ


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of one arm, then and now."""

    arm: str
    measure: Measure
    then: Estimate
    now: Estimate

    @property
    def better(self) -> bool:
        """Whether it is better now."""
        return (self.now.value < self.then.value) == (self.measure.better == "lower")

    def __str__(self) -> str:
        unit = self.measure.unit
        return (
            f"{self.arm}, {self.measure.what} ({self.measure.phase}): {stated(self.now, unit)}, "
            f"then {stated(self.then, unit)}"
        )


@dataclass(frozen=True, slots=True)
class Against:
    """What two comparisons have in common, and what not."""

    compared: int
    """Figures that both have with an interval."""
    changes: tuple[Change, ...]
    agreed: tuple[Order, ...]
    contradicted: tuple[Order, ...]
    """Orderings of now of which the earlier comparison states the contrary."""
    surroundings: tuple[str, ...]
    """What was different around them."""

    def __str__(self) -> str:
        return (
            f"{plural(self.compared, 'figure')} compared, a difference seen in {len(self.changes):,}. "
            f"{plural(len(self.agreed), 'ordering')} stated by both, {len(self.contradicted):,} contradicted."
        )


def against(
    now: Measured, then: Measured, stated_now: Sequence[Finding], stated_then: Sequence[Finding]
) -> Against:  # fmt: skip
    """Compare two comparisons, and the findings of both."""
    orders, earlier = _orders(stated_now), set(_orders(stated_then))
    pairs = _pairs(now, then)
    return Against(
        compared=len(pairs),
        changes=tuple(pair for pair in pairs if differ(pair.then, pair.now)),
        agreed=tuple(order for order in orders if order in earlier),
        contradicted=tuple(order for order in orders if order.reversed() in earlier),
        surroundings=tuple(_surroundings(now, then)),
    )


def _orders(findings: Sequence[Finding]) -> list[Order]:
    return list(dict.fromkeys(order for finding in findings for order in finding.orders))


def _pairs(now: Measured, then: Measured) -> list[Change]:
    known = set(then.measures)
    found = []
    for measure in now.measures:
        if measure not in known or not _comparable(measure):
            continue
        earlier = then.estimates(measure)
        found += [
            Change(arm, measure, earlier[arm], estimate)
            for arm, estimate in now.estimates(measure).items()
            if arm in earlier and estimate.repeated and earlier[arm].repeated
        ]
    return found


def _comparable(measure: Measure) -> bool:
    if measure.group is None:
        return measure.name.split(" ")[1] in STATED
    return measure.group != "other"


def _surroundings(now: Measured, then: Measured) -> list[str]:
    ours, theirs = now.results.surroundings, then.results.surroundings
    groups = {
        "machine": (ours.machine, theirs.machine),
        "versions": (ours.versions, theirs.versions),
        "settings": (ours.settings, theirs.settings),
        "workload": (ours.workload, theirs.workload),
    }
    found = [] if ours.seed == theirs.seed else [f"seed: {ours.seed}, then {theirs.seed}"]
    for here, there in groups.values():
        found += [
            f"{name}: {here.get(name, 'unknown')}, then {there.get(name, 'unknown')}"
            for name in dict.fromkeys((*here, *there))
            if here.get(name) != there.get(name)
        ]
    return found
