"""Estimates from a few repetitions, and whether two of them differ. Pure.

An interval from the two or three repetitions of one arm is too narrow when they agree by chance. So the bootstrap is
done twice: with the arm's own repetitions, and with the relative deviations of all arms from their medians; the wider
interval counts. Of two arms no difference is stated unless their intervals are apart and their medians differ by a
tenth, which is what a shared machine's speed changes by between two runs.
"""

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.instruments.figures import percentile

ROUNDS = 1000
CONFIDENCE = 99
"""Percent. By 95 % intervals, the best of eight equal arms is called better than another in one of twelve rankings."""
LEAST = 1.1
"""The least quotient of two medians that is a difference."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The median of some repetitions, with its interval."""

    value: float
    low: float
    high: float
    repetitions: int

    @property
    def repeated(self) -> bool:
        """Whether there is an interval."""
        return self.repetitions > 1


def estimates(values: Mapping[str, Sequence[float]], *, seed: str) -> dict[str, Estimate]:
    """Return the estimate of each arm that has values; `seed` draws the bootstrap's samples."""
    draw = random.Random(seed)  # noqa: S311 - for intervals that can be repeated
    pool = [deviation for each in values.values() for deviation in _deviations(each)]
    shared = {
        count: interval(pool, resampled=count, draw=draw) if pool else (1.0, 1.0)
        for count in sorted({len(each) for each in values.values()})
        if count > 1
    }
    return {arm: _estimate(each, shared.get(len(each)), draw) for arm, each in values.items() if each}


def differ(one: Estimate, other: Estimate) -> bool:
    """Return whether the two are different: their intervals are apart, and their medians by a tenth."""
    if not (one.repeated and other.repeated):
        return False
    less, more = sorted((one, other), key=lambda estimate: estimate.value)
    return less.high < more.low and more.value >= less.value * LEAST


def interval(values: Sequence[float], *, resampled: int, draw: random.Random) -> tuple[float, float]:
    """Return the interval of the median of `resampled` values that are drawn from `values`, by the bootstrap."""
    medians = sorted(statistics.median(draw.choices(values, k=resampled)) for _ in range(ROUNDS))
    outside = (100 - CONFIDENCE) / 2
    return percentile(medians, outside), percentile(medians, 100 - outside)


def _estimate(values: Sequence[float], shared: tuple[float, float] | None, draw: random.Random) -> Estimate:
    """Return the estimate of one arm; `shared` is the interval of all arms' deviations, None for a single value."""
    value = statistics.median(values)
    if shared is None:
        return Estimate(value, value, value, 1)
    low, high = interval(values, resampled=len(values), draw=draw)
    least, most = shared
    return Estimate(value, min(low, value * least), max(high, value * most), len(values))


def _deviations(values: Sequence[float]) -> list[float]:
    """Return each value over the median, spread as much as those of single values are about their true median."""
    middle = statistics.median(values) if values else 0
    if len(values) < 2 or middle == 0:  # noqa: PLR2004 - one value has no deviation
        return []
    wider = (len(values) / (len(values) - 1)) ** 0.5
    return [max(0.0, 1 + (value / middle - 1) * wider) for value in values]
