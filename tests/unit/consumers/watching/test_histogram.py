"""The histogram prints what prometheus_client's own would."""

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from consumers.watching.histogram import Histogram

BUCKETS = (0.001, 0.5, 1, 30)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.001, 0.25, 0.5, 1.0, 2.0, 30.0, 31.0]))))
def test_it_prints_what_the_clients_own_prints(values: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram("seconds", "How long.", ["type"], buckets=BUCKETS)
    ours.register(histogram)
    other = prometheus_client.Histogram("seconds", "How long.", ["type"], buckets=BUCKETS, registry=theirs)
    for label, value in values:
        histogram.observe((label,), value)
        other.labels(label).observe(value)
    printed, expected = (
        [line for line in generate_latest(each).decode().splitlines() if "_created" not in line]
        for each in (ours, theirs)
    )
    assert printed == expected
