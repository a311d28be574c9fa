"""The arms in the order of one measure: the best, those of which no difference from it was seen, and the others.

An arm that missed an event is not compared: it is fast by what it leaves out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from bench.compare.findings.correctness import missing
from bench.compare.findings.finding import Finding, Order, Stated
from bench.compare.findings.measures import Measure, Measured
from bench.compare.findings.phrasing import capital, listed, quantity, times
from bench.compare.findings.statistics import Estimate, differ

_PAIR = 2


@dataclass(frozen=True, slots=True)
class Place:
    """An arm with its estimate."""

    arm: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Ranking:
    """The arms by one measure; make it with `rank`."""

    measure: Measure
    best: Place
    same: tuple[Place, ...]
    """No difference from the best was seen."""
    worse: tuple[Place, ...]
    left_out: tuple[Place, ...]
    """Arms that missed events."""
    once: tuple[Place, ...] = ()
    """Arms that were measured once, while others were measured more often."""

    def title(self) -> str:
        """Return the finding as a title of a plot."""
        what, unit = f"{capital(self.measure.what)} ({self.measure.phase})", self.measure.unit
        if not self._repeated():
            return f"{what}: {self._at_both_ends()}; measured once"
        if not self.worse:
            return f"{what}: no difference seen between {len(self.same) + 1} arms"
        last = self.worse[-1]
        beside = f", no difference seen from {_few(self.same)}" if self.same else ""
        return (
            f"{what}: {quantity(self.best.estimate.value, unit)} with {self.best.arm}{beside}; "
            f"{quantity(last.estimate.value, unit)} with {last.arm}"
        )

    def _at_both_ends(self) -> str:
        unit, last = self.measure.unit, self.same[-1]  # nothing is worse, since nothing is stated to differ
        return (
            f"{quantity(self.best.estimate.value, unit)} with {self.best.arm}; "
            f"{quantity(last.estimate.value, unit)} with {last.arm}"
        )

    def finding(self) -> Finding:
        """Return the sentence with all arms, and each two that differ; the intervals are in the tables."""
        places = (self.best, *self.same, *self.worse)
        if self._repeated():
            text = f"{capital(self.measure.what)}: {self._compared()}."
        else:
            each = listed([self._named(place) for place in places])
            text = f"{capital(self.measure.what)}: {each}. One repetition, so no difference is stated."
        if self.once:
            text += f" Measured once, so not compared: {listed([self._named(place) for place in self.once])}."
        if self.left_out:
            each = listed([self._named(place) for place in self.left_out])
            text += f" Not compared, since events are missed: {each}."
        return Finding(
            text,
            figures=tuple(Stated(place.arm, self.measure, place.estimate) for place in places),
            orders=tuple(
                Order(self.measure, ahead.arm, behind.arm)
                for ahead, behind in combinations(_sorted(places, self.measure), _PAIR)
                if differ(ahead.estimate, behind.estimate)
            ),
        )

    def _repeated(self) -> bool:
        return all(place.estimate.repeated for place in (self.best, *self.same, *self.worse))

    def _compared(self) -> str:
        if not self.worse:
            values = sorted(place.estimate.value for place in (self.best, *self.same))
            least, most = (quantity(value, self.measure.unit) for value in (values[0], values[-1]))
            return f"no difference seen between {len(values)} arms, {least} to {most}"
        first = self._named(self.best)
        if self.same:
            first += f"; no difference seen from {listed([self._named(place) for place in self.same])}"
        return f"{first}. Worse: {listed([self._against_best(place) for place in self.worse])}"

    def _named(self, place: Place) -> str:
        return f"{place.arm} {quantity(place.estimate.value, self.measure.unit)}"

    def _against_best(self, place: Place) -> str:
        value, best = place.estimate.value, self.best.estimate.value
        return f"{self._named(place)} ({times(value, best)})" if best and value else self._named(place)


def rank(measured: Measured, measure: Measure) -> Ranking | None:
    """Rank the arms by a measure; None for fewer than two."""
    found = measured.estimates(measure)
    arms = [name for name, arm in measured.arms.items() if arm.family != "none" and name in found]
    bad = missing(measured)
    places = [Place(arm, found[arm]) for arm in arms if arm not in bad]
    if len(places) < _PAIR:
        return None
    places = _sorted(places, measure)
    often = [place for place in places if place.estimate.repeated]
    if len(often) < _PAIR:
        often = places
    best, *others = often
    return Ranking(
        measure,
        best,
        same=tuple(place for place in others if not differ(best.estimate, place.estimate)),
        worse=tuple(place for place in others if differ(best.estimate, place.estimate)),
        left_out=tuple(Place(arm, found[arm]) for arm in arms if arm in bad),
        once=tuple(place for place in places if place not in often),
    )


def _sorted(places: Sequence[Place], measure: Measure) -> list[Place]:
    return sorted(places, key=lambda place: place.estimate.value, reverse=measure.better == "higher")


def _few(places: Sequence[Place]) -> str:
    return listed([place.arm for place in places]) if len(places) < _PAIR else f"{len(places)} others"
