"""This comparison against an earlier one: figures that changed, and orderings that both state. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.compare.findings.correctness import missing
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
class Agreement:
    """What has become of the orderings that an earlier comparison states."""

    again: tuple[Order, ...]
    """Stated now, too."""
    unseen: tuple[Order, ...]
    """No difference is stated now."""
    turned: tuple[Order, ...]
    """As they are stated now: the other way round."""
    unmeasured: tuple[Order, ...]
    """One of the two arms has no such figure now, or is not compared any more."""

    def __str__(self) -> str:
        earlier = len(self.again) + len(self.unseen) + len(self.turned) + len(self.unmeasured)
        text = (
            f"Of {plural(earlier, 'ordering')} of the earlier comparison, {_are(self.again)} stated again, "
            f"{_are(self.unseen)} not seen, {_are(self.turned)} the other way round"
        )
        return f"{text}, {_are(self.unmeasured)} not measured." if self.unmeasured else f"{text}."


@dataclass(frozen=True, slots=True)
class Against:
    """What two comparisons have in common, and what not."""

    compared: int
    """Figures that both have with an interval."""
    changes: tuple[Change, ...]
    agreement: Agreement
    surroundings: tuple[str, ...]
    """What was different around them."""

    def __str__(self) -> str:
        seen = f"{plural(self.compared, 'figure')} compared, a difference seen in {len(self.changes):,}."
        return f"{self.agreement} {seen}"


def against(
    now: Measured, then: Measured, stated_now: Sequence[Finding], stated_then: Sequence[Finding]
) -> Against:  # fmt: skip
    """Compare two comparisons, and the findings of both."""
    pairs = _pairs(now, then)
    return Against(
        compared=len(pairs),
        changes=tuple(pair for pair in pairs if differ(pair.then, pair.now)),
        agreement=agreement(now, stated_now, stated_then),
        surroundings=tuple(_surroundings(now, then)),
    )


def agreement(now: Measured, stated_now: Sequence[Finding], stated_then: Sequence[Finding]) -> Agreement:
    """Return what has become of the orderings of `stated_then`."""
    orders, earlier = set(_orders(stated_now)), _orders(stated_then)
    left = [order for order in earlier if order not in orders and order.reversed() not in orders]
    there = {order: _compared(now, order) for order in left}
    return Agreement(
        again=tuple(order for order in earlier if order in orders),
        unseen=tuple(order for order in left if there[order]),
        turned=tuple(order.reversed() for order in earlier if order.reversed() in orders),
        unmeasured=tuple(order for order in left if not there[order]),
    )


def _orders(findings: Sequence[Finding]) -> list[Order]:
    return list(dict.fromkeys(order for finding in findings for order in finding.orders))


def _compared(now: Measured, order: Order) -> bool:
    """Return whether both arms of an ordering are compared by its measure."""
    found = now.estimates(order.measure)
    return all(
        arm in found and found[arm].repeated and arm not in missing(now) for arm in (order.better, order.worse)
    )  # fmt: skip


def _are(orders: Sequence[Order]) -> str:
    return f"{len(orders):,} {'is' if len(orders) == 1 else 'are'}"


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
