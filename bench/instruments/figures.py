"""Statistics of samples and histograms. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Sample(NamedTuple):
    """The state of a publisher at one moment; `at` is seconds on a monotonic clock."""

    at: float
    confirmed: int
    """Events confirmed so far."""
    cpu: Mapping[str, float]
    """CPU seconds used so far, by user of the CPU; `idle` is the rest."""


@dataclass(frozen=True, slots=True)
class Steady:
    """The part of a run in which events were confirmed steadily."""

    events: int
    seconds: float
    cpu: Mapping[str, float]
    """CPU seconds used in it, by user of the CPU."""

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def cores(self) -> dict[str, float]:
        """How many cores each user of the CPU kept busy; `idle` is the rest."""
        return {name: used / self.seconds for name, used in self.cpu.items()}


def between(first: Sample, last: Sample) -> Steady:
    """Return the difference between two samples."""
    return Steady(
        events=last.confirmed - first.confirmed,
        seconds=last.at - first.at,
        cpu={name: last.cpu[name] - first.cpu[name] for name in last.cpu if name in first.cpu},
    )


def steady(samples: Sequence[Sample], total: int) -> Steady:
    """Return the part from the first sample with a confirmed event to the last before all are confirmed.

    Between the two the publisher worked all the time, so the figure contains neither its start nor its end. If a run is
    too short for two such samples, the time around it is used: then the rate is a lower bound. Raises ValueError when
    the samples do not reach `total`.
    """
    if len(samples) < 2 or samples[-1].confirmed < total:  # noqa: PLR2004 - two ends
        raise ValueError("the samples end before the run")
    working = [sample for sample in samples if 0 < sample.confirmed < total]
    if len(working) < 2 or working[0].confirmed == working[-1].confirmed:  # noqa: PLR2004 - the same
        idle = [sample for sample in samples if sample.confirmed == 0] or [samples[0]]
        working = [idle[-1], next(sample for sample in samples if sample.confirmed >= total)]
    return between(working[0], working[-1])


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of values, in their own unit."""

    p50: float
    p95: float
    p99: float
    max: float


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of `values`; raises ValueError for none."""
    if not values:
        raise ValueError("there are no values")
    ordered = sorted(values)
    p50, p95, p99 = (percentile(ordered, percent) for percent in (50, 95, 99))
    return Spread(p50, p95, p99, ordered[-1])


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of the `ordered` values do not exceed, interpolated between neighbours."""
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values: Sequence[float]) -> float:
    """Return the median; raises statistics.StatisticsError for none."""
    return statistics.median(values)


def share_within(before: Mapping[float, float], after: Mapping[float, float], bound: float) -> float:
    """Return the share of a histogram's growth at or below `bound`, the upper bound of one of its buckets.

    `before` and `after` are cumulative counts by upper bound, as in Prometheus. The result is exact. Raises KeyError if
    no bucket has that bound, ZeroDivisionError when nothing was counted in between.
    """
    grown = after[float("inf")] - before.get(float("inf"), 0)
    return (after[bound] - before.get(bound, 0)) / grown


def quantile(before: Mapping[float, float], after: Mapping[float, float], share: float) -> float:
    """Return the value below which `share` of a histogram's growth lies, in its own unit.

    Values count as evenly spread within a bucket, as in histogram_quantile
    (https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), so the error is at most a
    bucket's width. Above the last finite bound, that bound is returned.
    """
    bounds = sorted(after)
    counts = [after[bound] - before.get(bound, 0) for bound in bounds]
    rank = counts[-1] * share
    place = next(place for place, count in enumerate(counts) if count >= rank and count)
    low, below = (bounds[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    if bounds[place] == float("inf"):
        return low
    return low + (bounds[place] - low) * (rank - below) / (counts[place] - below)
