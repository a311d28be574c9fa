"""A compact distribution of durations: counts in bins that are one percent wide. Pure.

Bins add up, so the distributions of repetitions merge without loss; a sample cut to some thousand values would lose the
99.9th percentile.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

_GROWTH = math.log(1.01)
"""Of each bin's upper bound over its lower one, as a logarithm."""
_LEAST = 1e-6
"""Seconds: clocks of two processes tell no shorter time apart, and a negative duration is one of them."""


class Distribution(Struct, frozen=True, forbid_unknown_fields=True):
    """How often each duration was seen; make it with `of`. Durations are seconds."""

    bins: tuple[tuple[int, int], ...] = ()
    """Number of a bin and how many values it has, ascending."""
    greatest: float = 0.0
    """The greatest value itself."""

    @property
    def count(self) -> int:
        """How many values it has."""
        return sum(count for _, count in self.bins)

    def quantile(self, share: float) -> float:
        """Return the value that `share` of all values do not exceed, to half a percent; raises ValueError for none."""
        if not self.bins:
            raise ValueError("there are no values")
        rank = math.ceil(share * self.count)
        if rank >= self.count:
            return self.greatest
        seen = 0
        for number, count in self.bins:
            seen += count
            if seen >= rank:
                return min(_middle(number), self.greatest)
        raise AssertionError("the counts of all bins are their sum")

    def curve(self) -> list[tuple[float, float]]:
        """Return each bin's value with the share of all values up to it: the points of a cumulative plot."""
        points, seen, count = [], 0, self.count
        for number, here in self.bins:
            seen += here
            points.append((self.greatest if seen == count else min(_middle(number), self.greatest), seen / count))
        return points


def of(seconds: Iterable[float]) -> Distribution:
    """Return the distribution of `seconds`."""
    counts: Counter[int] = Counter()
    greatest = 0.0
    for value in seconds:
        counts[_bin(value)] += 1
        greatest = max(greatest, value)
    return Distribution(tuple(sorted(counts.items())), greatest)


def merged(parts: Sequence[Distribution]) -> Distribution:
    """Return the distribution of all values of `parts`."""
    counts: Counter[int] = Counter()
    for part in parts:
        for number, count in part.bins:
            counts[number] += count
    return Distribution(tuple(sorted(counts.items())), max((part.greatest for part in parts), default=0.0))


def _bin(value: float) -> int:
    return math.floor(math.log(max(value, _LEAST)) / _GROWTH)


def _middle(number: int) -> float:
    return math.exp((number + 0.5) * _GROWTH)
