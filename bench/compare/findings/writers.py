"""What the writers pay: their figures with each arm against those with no relay at all. Pure."""

from collections.abc import Iterable, Sequence

from bench.compare.findings.finding import Finding, Order, Stated
from bench.compare.findings.measures import Measure, Measured
from bench.compare.findings.phrasing import capital, listed, plural, quantity, times
from bench.compare.findings.statistics import Estimate, differ
from bench.compare.quantities import RATE


def reference(measured: Measured) -> str | None:
    """Return the name of the arm without a relay, if it was measured."""
    return next((name for name, arm in measured.arms.items() if arm.family == "none"), None)


def finding(measured: Measured, measure: Measure) -> Finding | None:
    """Return the sentence about one measure of the writers; None without an arm to compare with."""
    found = dict(measured.estimates(measure))
    none = reference(measured)
    if none is None or none not in found or len(found) == 1:
        return None
    alone = found.pop(none)
    longer = _of_a_longer_load(measured, measure, found)
    found = {arm: each for arm, each in found.items() if arm not in longer}
    often = {arm: each for arm, each in found.items() if each.repeated}
    if not alone.repeated or not often:
        text = f"{capital(measure.what)}: one repetition, so no difference is stated."
        return Finding(text, _figures(measure, none, alone, found))
    apart = [arm for arm, each in often.items() if differ(alone, each)]
    text = f"{capital(measure.what)}: {quantity(alone.value, measure.unit)} without a relay; "
    if apart:
        each = listed([_against(arm, found[arm], alone, measure) for arm in apart])
        same = len(often) - len(apart)
        text += f"different with {each}" + (f"; no difference seen with {plural(same, 'other arm')}" if same else "")
    else:
        text += f"no difference seen with any of {plural(len(often), 'arm')}"
    text += f". Not compared, since its load lasted longer: {listed(longer)}" if longer else ""
    orders = tuple(_order(measure, none, alone, arm, found[arm]) for arm in apart)
    return Finding(f"{text}.", _figures(measure, none, alone, found), orders)


def title(measured: Measured, measures: Sequence[Measure]) -> str:
    """Return the finding about all measures of the writers as a title."""
    orders = [order for each in measures if (found := finding(measured, each)) for order in found.orders]
    none = reference(measured)
    paying = list(dict.fromkeys(order.worse for order in orders if order.worse != none))
    if not paying:
        return "Writers: no difference seen between any relay and none"
    return f"Writers pay for {listed(paying)}; with the others no cost was seen"


def _of_a_longer_load(measured: Measured, measure: Measure, arms: Iterable[str]) -> list[str]:
    """Return the arms whose load has more events than the shortest one, if the measure is a rate.

    A load lasts at least as long as an arm's interval, and the longer one has other pauses. All follow one schedule.
    """
    if measure.unit != RATE:
        return []
    parts = {arm: measured.parts(arm, measure.phase) for arm in arms}
    due = {arm: each[0].correctness.committed for arm, each in parts.items() if each and each[0].correctness}
    return [arm for arm, events in due.items() if events > min(due.values())]


def _against(arm: str, each: Estimate, alone: Estimate, measure: Measure) -> str:
    text = f"{arm} {quantity(each.value, measure.unit)}"
    return f"{text} ({times(each.value, alone.value)})" if alone.value and each.value else text


def _order(measure: Measure, none: str, alone: Estimate, arm: str, each: Estimate) -> Order:
    dearer = (each.value > alone.value) == (measure.better == "lower")
    return Order(measure, none, arm) if dearer else Order(measure, arm, none)


def _figures(measure: Measure, none: str, alone: Estimate, found: dict[str, Estimate]) -> tuple[Stated, ...]:
    return tuple(Stated(arm, measure, each) for arm, each in ((none, alone), *found.items()))
