"""The statistics that benchmarks compute from samples and histograms."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.instruments.figures import Sample, percentile, quantile, share_within, spread, steady

INFINITE = float("inf")


def samples(*seen: tuple[float, int]) -> list[Sample]:
    return [Sample(at, count, {"publisher": at / 4, "idle": at}) for at, count in seen]


def test_the_rate_is_measured_from_the_first_confirmed_event_to_the_last_unconfirmed_one() -> None:
    found = steady(samples((0, 0), (9, 0), (10, 100), (11, 1100), (12, 2100), (13, 2200)), 2200)
    assert (found.events, found.seconds, found.rate) == (2000, 2, 1000)
    assert found.cpu == {"publisher": 0.5, "idle": 2}
    assert found.cores == {"publisher": 0.25, "idle": 1}


def test_a_run_between_two_samples_counts_the_time_around_it() -> None:
    found = steady(samples((0, 0), (1, 0), (3, 500), (4, 500)), 500)
    assert (found.events, found.seconds) == (500, 2)


def test_one_sample_in_the_middle_of_a_run_is_not_enough() -> None:
    found = steady(samples((0, 0), (1, 200), (2, 500)), 500)
    assert (found.events, found.seconds) == (500, 2)


def test_a_publisher_that_stops_in_the_middle_is_measured_to_its_end() -> None:
    found = steady(samples((0, 0), (1, 200), (2, 200), (5, 500)), 500)
    assert (found.events, found.seconds) == (500, 5)


@pytest.mark.parametrize("seen", [[], [(0, 0)], [(0, 0), (1, 99)]])
def test_samples_that_end_before_the_run_are_refused(seen: list[tuple[float, int]]) -> None:
    with pytest.raises(ValueError, match="end before"):
        steady(samples(*seen), 100)


def test_cpu_that_is_not_in_both_samples_is_left_out() -> None:
    first, last = Sample(0, 1, {"publisher": 1}), Sample(1, 2, {"publisher": 2, "rabbitmq": 7})
    assert steady([first, last, Sample(2, 3, {})], 3).cpu == {"publisher": 1}


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 3), (75, 4), (90, 4.6), (100, 5)])
def test_a_percentile_lies_between_its_neighbours(percent: float, value: float) -> None:
    assert percentile([1, 2, 3, 4, 5], percent) == pytest.approx(value)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_a_spread_is_ordered_and_within_the_values(values: list[float]) -> None:
    found = spread(values)
    ordered = [min(values), found.p50, found.p95, found.p99, found.max]
    assert all(low <= high + 1e-6 for low, high in pairwise(ordered))
    assert found.max == max(values)


def test_a_spread_of_no_values_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_a_share_is_of_the_growth_between_two_readings() -> None:
    before = {0.003: 10.0, 0.02: 10.0, INFINITE: 20.0}
    after = {0.003: 100.0, 0.02: 109.0, INFINITE: 120.0}
    assert share_within(before, after, 0.003) == pytest.approx(0.90)
    assert share_within({}, {0.02: 99.0, INFINITE: 100.0}, 0.02) == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("share", "value"),
    [(0.5, 1.5), (0.25, 1.25), (1.0, 2.0)],
)
def test_a_quantile_is_of_the_growth_and_spread_evenly_within_a_bucket(share: float, value: float) -> None:
    before = {1.0: 5.0, 2.0: 5.0, 4.0: 5.0, INFINITE: 5.0}
    after = {1.0: 5.0, 2.0: 9.0, 4.0: 9.0, INFINITE: 9.0}
    assert quantile(before, after, share) == pytest.approx(value)


def test_the_first_bucket_starts_at_zero_and_the_last_ends_at_its_finite_bound() -> None:
    assert quantile({}, {1.0: 4.0, INFINITE: 4.0}, 0.5) == pytest.approx(0.5)
    assert quantile({}, {1.0: 1.0, INFINITE: 4.0}, 0.5) == 1.0


def test_a_bound_that_is_not_a_buckets_is_refused() -> None:
    with pytest.raises(KeyError):
        share_within({}, {0.02: 1.0, INFINITE: 1.0}, 0.004)
