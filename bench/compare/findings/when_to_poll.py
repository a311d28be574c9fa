"""When to poll: how late each way of polling is, and where it is better or worse than the WAL. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.compare.findings.correctness import missing
from bench.compare.findings.finding import Finding, Order, Stated
from bench.compare.findings.measures import STATED, Measure, Measured
from bench.compare.findings.phrasing import listed, quantity
from bench.compare.findings.statistics import Estimate, differ
from bench.compare.results import CONFIRMED, Family, Kind

_LATE = f"{CONFIRMED} p99"
_LATENCIES = tuple(f"{CONFIRMED} {quantile}" for quantile in STATED)
BUDGETS = (0.02, 0.1, 0.5, 2.0, 15.0)
"""Seconds that an event may be late; the report names the cheapest arm within each."""
_WRITERS, _OWN_SHARE = "writer_commit_p99", 0.5
"""A load at which writers alone take more than this share of such a time says nothing of an arm that is to keep it."""
_CHEAP = ("idle_relay_cpu", "idle_database_cpu")
_COMPARED = frozenset({"speed", "database", "relay", "incident"})


@dataclass(frozen=True, slots=True)
class Budget:
    """Which arms confirm 99 % of the events in time, at each load that the writers alone keep."""

    seconds: float
    left_out: tuple[str, ...]
    """The loads at which the writers alone are too late."""
    within: tuple[str, ...]
    cheapest: tuple[str, ...]
    """Of these, the one with the least CPU when nothing is written, and those that do not differ from it.

    None if it was measured once, or never.
    """


@dataclass(frozen=True, slots=True)
class _Pair:
    """A way of polling and the WAL's arms, by one measure."""

    measure: Measure
    arm: str
    mine: Estimate
    best: str
    wal: Mapping[str, Estimate]

    @property
    def theirs(self) -> Estimate:
        return self.wal[self.best]

    @property
    def ahead(self) -> bool:
        return self._ahead_of(self.theirs)

    def _ahead_of(self, other: Estimate) -> bool:
        return (self.mine.value < other.value) == (self.measure.better == "lower")

    @property
    def differ(self) -> bool:
        return differ(self.mine, self.theirs)

    @property
    def repeated(self) -> bool:
        return self.mine.repeated and self.theirs.repeated

    def figures(self) -> tuple[Stated, ...]:
        return Stated(self.arm, self.measure, self.mine), Stated(self.best, self.measure, self.theirs)

    def orders(self) -> Iterator[Order]:
        for arm, estimate in self.wal.items():
            if differ(self.mine, estimate) and self._ahead_of(estimate) == self.ahead:
                ordered = (self.arm, arm) if self.ahead else (arm, self.arm)
                yield Order(self.measure, *ordered)

    def __str__(self) -> str:
        mine, theirs = (quantity(each.value, self.measure.unit) for each in (self.mine, self.theirs))
        return f"{self.measure.what} ({mine} against {theirs}; {self.measure.phase})"


def findings(measured: Measured) -> dict[str, list[Finding]]:
    """Return what is found of each way of polling, by its name."""
    wal = _sound(measured, "wal")
    return {arm: _about(measured, arm, wal) for arm in _sound(measured, "polling")} if wal else {}


def budgets(measured: Measured) -> list[Budget]:
    """Return for each time that an event may take which arms keep it; arms that missed events are left out."""
    sound = (*_sound(measured, "wal"), *_sound(measured, "polling"))
    late = {arm: at for arm in sound if (at := dict(_lateness(measured, arm)))}
    alone = _writers_alone(measured)
    found = []
    for seconds in BUDGETS if late else ():
        left_out = tuple(load for load, estimate in alone.items() if estimate.value > _OWN_SHARE * seconds)
        within = tuple(
            arm
            for arm, at in late.items()
            if any(measure.phase not in left_out for measure in at)
            and all(estimate.high <= seconds for measure, estimate in at.items() if measure.phase not in left_out)
        )
        found.append(Budget(seconds, left_out, within, _cheapest(measured, within)))
    return found


def _about(measured: Measured, arm: str, wal: Sequence[str]) -> list[Finding]:
    found = []
    if late := _late(measured, arm):
        measure, estimate = late
        latest = quantity(estimate.high, measure.unit)
        median = quantity(estimate.value, measure.unit)
        where = (
            measure.phase if median == latest else f"{measure.phase}: {median}, and by its interval at most {latest}"
        )
        text = f"Enough where an event may be {latest} late: that is the p99 at the worst load ({where})"
        writers = _writers_alone(measured).get(measure.phase)
        if writers is not None and writers.value > _OWN_SHARE * estimate.value:
            text += f", at which the writers alone take {quantity(writers.value, measure.unit)}"
        text += "."
        found.append(Finding(text, (Stated(arm, measure, estimate),)))
    pairs = list(_compared(measured, arm, wal))
    better = [each for each in pairs if each.differ and each.ahead]
    worse = [each for each in pairs if each.differ and not each.ahead]
    same = [each.measure for each in pairs if each.repeated and not each.differ]
    once = [each.measure for each in pairs if not each.repeated]
    found.append(_differing("Better than the WAL", "Nowhere seen to be better than the WAL", better))
    found.append(_differing("Worse than the WAL", "Nowhere seen to be worse than the WAL", worse))
    found += [Finding(f"No difference seen in {each}.") for each in _by_phase(same)]
    found += [Finding(f"Measured once, so no difference is stated, in {each}.") for each in _by_phase(once)]
    return found


def _by_phase(measures: Sequence[Measure]) -> Iterator[str]:
    """Yield for each phase what was measured there."""
    for phase in dict.fromkeys(measure.phase for measure in measures):
        yield f"{listed([measure.what for measure in measures if measure.phase == phase])} ({phase})"


def _differing(some: str, none: str, pairs: Sequence[_Pair]) -> Finding:
    if not pairs:
        return Finding(f"{none}.")
    return Finding(
        f"{some}: {listed([str(each) for each in pairs])}.",
        tuple(figure for each in pairs for figure in each.figures()),
        tuple(order for each in pairs for order in each.orders()),
    )


def _compared(measured: Measured, arm: str, wal: Sequence[str]) -> Iterator[_Pair]:
    """Yield each quantity with the best of the WAL's arms, in the first phase of each kind that has it.

    So what a way costs is told at a load, in a backlog and without events: they differ.
    """
    seen: set[tuple[str, Kind]] = set()
    for measure in measured.measures:
        kind = measured.phases[measure.phase].kind
        key = (measure.name, kind)
        found = measured.estimates(measure)
        theirs = {each: found[each] for each in wal if each in found}
        counts = measure.group in _COMPARED or (measure.name in _LATENCIES and kind == "load")
        if counts and theirs and arm in found and key not in seen:
            seen.add(key)
            sign = 1 if measure.better == "lower" else -1
            yield _Pair(measure, arm, found[arm], min(theirs, key=lambda each: sign * theirs[each].value), theirs)


def _late(measured: Measured, arm: str) -> tuple[Measure, Estimate] | None:
    """Return the load at which an arm is latest, and how late; None where no load was measured."""
    return max(_lateness(measured, arm), key=lambda each: each[1].high, default=None)


def _lateness(measured: Measured, arm: str) -> Iterator[tuple[Measure, Estimate]]:
    """Yield each load, with how late an arm is at it."""
    for measure in measured.measures:
        if measure.name == _LATE and measured.phases[measure.phase].kind == "load":
            found = measured.estimates(measure)
            if arm in found:
                yield measure, found[arm]


def _writers_alone(measured: Measured) -> dict[str, Estimate]:
    """Return by load how late the writers are without a relay; nothing if that was not measured."""
    found = {}
    for measure in measured.measures:
        if measure.name == _WRITERS and measured.phases[measure.phase].kind == "load":
            for arm, estimate in measured.estimates(measure).items():
                if measured.arms[arm].family == "none":
                    found[measure.phase] = estimate
    return found


def _cheapest(measured: Measured, arms: Sequence[str]) -> tuple[str, ...]:
    """Return the arms with the least CPU in a minute without events."""
    costs: dict[str, list[Estimate]] = {}
    for measure in measured.measures:
        if measure.name in _CHEAP:
            for arm, estimate in measured.estimates(measure).items():
                costs.setdefault(arm, []).append(estimate)
    sums = {arm: _sum(costs[arm]) for arm in arms if arm in costs}
    if not sums or not all(each.repeated for each in sums.values()):
        return ()
    best = min(sums, key=lambda arm: sums[arm].value)
    return (best, *(arm for arm in sums if arm != best and not differ(sums[best], sums[arm])))


def _sum(estimates: Sequence[Estimate]) -> Estimate:
    return Estimate(
        sum(each.value for each in estimates),
        sum(each.low for each in estimates),
        sum(each.high for each in estimates),
        min(each.repetitions for each in estimates),
    )


def _sound(measured: Measured, family: Family) -> list[str]:
    bad = missing(measured)
    return [name for name, arm in measured.arms.items() if arm.family == family and name not in bad]
