"""What benchmarks read from metrics and from the kernel, and the check for completeness."""

import os

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

import consumers.watching.metrics
from bench.instruments import completeness, metrics, procfs
from outboxkit.errors import Problem
from relay.core.observations import Confirmed, Nacked, Named, Returned, Settled
from relay.watching.metrics import Metrics

FIRST = Named("id", "exchange", "key")


def test_the_relays_metrics_are_read_by_their_names() -> None:
    seen = Metrics()
    text = generate_latest(seen.registry).decode()
    assert metrics.confirmed(text) == 0
    seen(Confirmed(41))
    seen(Confirmed(1))
    seen(Nacked(7, FIRST))
    seen(Returned(3, FIRST, "NO_ROUTE", "park"))
    seen(Settled([100.0], [100.001], 100.0025))
    text = generate_latest(seen.registry).decode()
    assert metrics.confirmed(text) == 42
    assert 'relay_events_published_total{outcome="returned"} 3.0' in text
    found = metrics.latency(text)
    assert found[0.002] == 0
    assert found[0.003] == found[0.02] == found[float("inf")] == 1


def test_completed_tasks_of_all_types_are_counted_and_other_outcomes_are_not() -> None:
    seen = consumers.watching.metrics.Metrics(frozenset({"a", "b"}))
    for outcome, type_ in (("completed", "a"), ("completed", "b"), ("failed", "a"), ("duplicate", "b")):
        seen.count(outcome, type_)
    assert metrics.completed(generate_latest(seen.registry).decode()) == 2
    assert metrics.completed("") == 0


def test_each_stage_is_read_separately_and_the_total_by_default() -> None:
    registry = CollectorRegistry()
    histogram = Histogram(metrics.LATENCY, "", ["stage"], buckets=(1, 2), registry=registry)
    histogram.labels("receive").observe(0.5)
    histogram.labels("total").observe(1.5)
    Counter(metrics.PUBLISHED, "", ["outcome"], registry=registry)
    text = generate_latest(registry).decode()
    assert metrics.latency(text) == {1.0: 0, 2.0: 1, float("inf"): 1}
    assert metrics.latency(text, "receive") == {1.0: 1, 2.0: 1, float("inf"): 1}
    assert metrics.confirmed(text) == 0


def test_an_endpoint_that_does_not_answer_has_no_metrics() -> None:
    endpoint = metrics.Endpoint("127.0.0.1:1")
    assert (endpoint.metrics(), endpoint.confirmed(), endpoint.ready()) == ("", 0, False)


def test_cpu_grows_with_work_and_is_zero_for_an_ended_process() -> None:
    before, busy = procfs.cpu([os.getpid()]), procfs.machine()
    while procfs.cpu([os.getpid()]) < before + 0.05:
        sum(range(10_000))
    assert procfs.cpu([os.getpid(), 2**22 + 1]) >= before + 0.05
    assert procfs.machine() > busy


def test_a_reset_peak_is_the_present_resident_memory() -> None:
    block = bytearray(64 << 20)
    block[::4096] = b"x" * len(range(0, len(block), 4096))
    high = procfs.peak(os.getpid())
    del block
    procfs.reset_peak(os.getpid())
    assert procfs.peak(os.getpid()) < high - (32 << 20)
    assert procfs.resident(os.getpid()) <= procfs.peak(os.getpid())


def test_duplicates_are_counted() -> None:
    assert completeness.duplicates(["a", "b"], ["a", "b"]) == 0
    assert completeness.duplicates(["a", "b"], ["a", "b", "a", "a"]) == 2


def test_a_missing_event_fails_the_measurement() -> None:
    with pytest.raises(Problem, match="1 of 2 committed events did not arrive"):
        completeness.duplicates(["a", "b"], ["a", "a"])


def test_a_message_that_was_never_committed_fails_the_measurement() -> None:
    with pytest.raises(Problem, match="1 messages arrived that were never committed"):
        completeness.duplicates(["a"], ["a", "z"])
