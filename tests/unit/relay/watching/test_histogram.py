"""The relay's own histogram counts like prometheus_client's."""

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from relay.watching.histogram import Histogram

BOUNDS = (0.001, 0.5, 1, 10)
amounts = st.lists(st.sampled_from(BOUNDS) | st.floats(0, 20).map(lambda amount: round(amount, 3)), max_size=20)


def text(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line and "_sum" not in line)


@given(batches=st.lists(amounts, max_size=4))
def test_it_counts_batches_as_prometheus_client_counts_single_values(batches: list[list[float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    batched = Histogram("seconds", "Words.", "stage", ["total"], BOUNDS)
    ours.register(batched)
    single = prometheus_client.Histogram("seconds", "Words.", ["stage"], buckets=BOUNDS, registry=theirs)
    single.labels("total")
    for batch in batches:
        batched.observe("total", batch)
        for amount in batch:
            single.labels("total").observe(amount)

    assert text(ours) == text(theirs)


def test_a_negative_time_between_two_clocks_counts_as_zero() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("seconds", "Words.", "stage", ["total"], BOUNDS)
    registry.register(histogram)
    histogram.observe("total", [2.0, -5.0])

    assert registry.get_sample_value("seconds_sum", {"stage": "total"}) == 2
    assert registry.get_sample_value("seconds_bucket", {"stage": "total", "le": "0.001"}) == 1
