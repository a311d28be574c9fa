"""Estimates from a few repetitions, and whether two of them differ. Pure.

An interval from the two or three repetitions of one arm is too narrow when they agree by chance. So there are two: from
the arm's own repetitions, and from the relative deviations of all arms from their medians; the wider one counts.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 99
"""Percent. By 95 % intervals, the best of eight equal arms is called better than another in one of twelve rankings."""
LEAST = 1.2
"""The least quotient of two medians that is a difference.

A shared machine's speed changes by a tenth from one hour to the next, and not for all arms alike. For one comparison to
contradict another, the quotient has to pass 1.2 in both directions, and the intervals have to be apart both times.
"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The median of some repetitions, with its interval."""

    value: float
    low: float
    high: float
    repetitions: int
    grain: float = 0.0
    """What the measurement resolves: less is no difference."""

    @property
    def repeated(self) -> bool:
        """Whether there is an interval."""
        return self.repetitions > 1


def estimates(values: Mapping[str, Sequence[float]], *, grain: float = 0.0) -> dict[str, Estimate]:
    """Return the estimate of each arm that has values; `grain` is what their measurement resolves."""
    pool = [deviation for each in values.values() for deviation in _deviations(each)]
    shared = {
        count: interval(pool, resampled=count) if pool else (1.0, 1.0)
        for count in {len(each) for each in values.values()}
        if count > 1
    }
    return {arm: _estimate(each, shared.get(len(each)), grain) for arm, each in values.items() if each}


def differ(one: Estimate, other: Estimate) -> bool:
    """Return whether the two are different: their intervals are apart, and their medians by `LEAST` and a grain."""
    if not (one.repeated and other.repeated):
        return False
    less, more = sorted((one, other), key=lambda estimate: estimate.value)
    far = more.value >= less.value * LEAST and more.value - less.value >= max(less.grain, more.grain)
    return far and less.high < more.low


def interval(values: Sequence[float], *, resampled: int) -> tuple[float, float]:
    """Return the bootstrap's interval of the median of `resampled` values that are drawn from `values`.

    It is computed and not simulated, so a report is the same each time. The median of an even number lies between two
    of them: the interval reaches from the lower one's to the upper one's.
    """
    ordered = sorted(values)
    outside = (100 - CONFIDENCE) / 200
    return (
        _quantile(ordered, resampled, (resampled + 1) // 2, outside),
        _quantile(ordered, resampled, resampled // 2 + 1, 1 - outside),
    )


def _quantile(ordered: Sequence[float], drawn: int, place: int, share: float) -> float:
    """Return the value that the `place`-th smallest of `drawn` values does not exceed with this probability."""
    for number, value in enumerate(ordered, 1):
        below = number / len(ordered)
        chance = sum(math.comb(drawn, n) * below**n * (1 - below) ** (drawn - n) for n in range(place, drawn + 1))
        if chance >= share:
            return value
    return ordered[-1]


def _estimate(values: Sequence[float], shared: tuple[float, float] | None, grain: float) -> Estimate:
    """Return the estimate of one arm; `shared` is the interval of all arms' deviations, None for a single value."""
    value = statistics.median(values)
    if shared is None:
        return Estimate(value, value, value, 1, grain)
    low, high = interval(values, resampled=len(values))
    least, most = shared
    return Estimate(value, min(low, value * least), max(high, value * most), len(values), grain)


def _deviations(values: Sequence[float]) -> list[float]:
    """Return each value over the median, spread as much as those of single values are about their true median."""
    middle = statistics.median(values) if values else 0
    if len(values) < 2 or middle == 0:  # noqa: PLR2004 - one value has no deviation
        return []
    wider = (len(values) / (len(values) - 1)) ** 0.5
    return [max(0.0, 1 + (value / middle - 1) * wider) for value in values]
