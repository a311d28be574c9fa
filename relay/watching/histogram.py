"""A Prometheus histogram that takes many values at once.

prometheus_client's own takes a lock and visits all buckets for each value; the relay has three values for each
transaction.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector


class Histogram(Collector):
    """Counts values by `label`, one of `values`; `bounds` are the upper bounds of the buckets, in increasing order."""

    def __init__(
        self, name: str, documentation: str, label: str, values: Sequence[str], bounds: Sequence[float]
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._bounds = bounds
        self._counts: Mapping[str, list[int]] = {value: [0] * (len(bounds) + 1) for value in values}
        self._sums: dict[str, float] = dict.fromkeys(values, 0.0)

    def observe(self, value: str, amounts: Iterable[float]) -> None:
        """Count `amounts` for the label's `value`; raises KeyError for an unknown value.

        The amounts are nearly in order, so sorting them is cheaper than a search for each. A negative time, which two
        clocks that differ may give, counts as 0.
        """
        counts, ordered = self._counts[value], sorted(amounts)
        if ordered and ordered[0] < 0:
            ordered = [max(0.0, amount) for amount in ordered]
        below = 0
        for bucket, bound in enumerate(self._bounds):
            upto = bisect_right(ordered, bound, below)
            counts[bucket] += upto - below
            below = upto
            if below == len(ordered):
                break
        counts[-1] += len(ordered) - below
        self._sums[value] += sum(ordered)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Return the metric as Prometheus has it: cumulative counts by upper bound."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=[self._label])
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for value, counts in self._counts.items():
            total, buckets = 0, []
            for bound, count in zip(bounds, counts, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric([value], buckets, self._sums[value])
        yield family
