"""Estimates of a comparison, and what counts as a difference."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compare.findings.statistics import Estimate, differ, estimates, interval

VALUES = st.lists(st.floats(0.001, 1e6), min_size=2, max_size=6)


def test_the_interval_of_three_values_is_from_the_least_to_the_greatest() -> None:
    low, high = interval([1.0, 2.0, 5.0], resampled=3)
    assert (low, high) == (1, 5)


def test_the_interval_of_many_values_is_that_of_their_median() -> None:
    draw = random.Random(2)  # noqa: S311 - repeatable
    values = [draw.gauss(100, 10) for _ in range(400)]
    low, high = interval(values, resampled=400)
    # The standard error of a median is 1.253 standard deviations / √n, and 99 % are within 2.58 of it.
    assert high - low == pytest.approx(2 * 2.58 * 1.253 * 10 / 20, rel=0.3)


def test_arms_that_agree_by_chance_get_the_interval_of_the_others() -> None:
    found = estimates({"steady": [100, 100, 100], "noisy": [80, 100, 120], "too": [75, 100, 125]})
    assert found["steady"].low < 85
    assert found["steady"].high > 115


def test_an_arm_that_varies_more_than_the_others_keeps_its_own_interval() -> None:
    found = estimates({name: [99, 100, 101] for name in "abcdefgh"} | {"wild": [50, 100, 200]})
    assert (found["wild"].low, found["wild"].high) == pytest.approx((50, 200))


@given(VALUES, VALUES)
def test_the_median_is_in_its_interval_and_the_interval_among_the_values(one: list[float], other: list[float]) -> None:
    found = estimates({"one": one, "other": other})
    assert all(each.low <= each.value <= each.high for each in found.values())
    assert min(one) <= interval(one, resampled=3)[0] <= interval(one, resampled=3)[1] <= max(one)


@pytest.mark.parametrize("resampled", [2, 3, 4, 5])
def test_the_interval_is_what_a_bootstrap_finds(resampled: int) -> None:
    draw = random.Random(3)  # noqa: S311 - repeatable
    values = [draw.lognormvariate(0, 0.2) for _ in range(30)]
    low, high = interval(values, resampled=resampled)
    drawn = [sorted(draw.choices(values, k=resampled)) for _ in range(20_000)]
    below = sum(each[(resampled - 1) // 2] <= low for each in drawn) / len(drawn)
    above = sum(each[resampled // 2] > high for each in drawn) / len(drawn)
    assert below >= 0.003
    assert sum(each[(resampled - 1) // 2] < low for each in drawn) / len(drawn) <= 0.007
    assert above <= 0.007


def test_a_single_value_has_no_interval_and_differs_from_nothing() -> None:
    found = estimates({"one": [1], "other": [1000], "none": []})
    assert found == {"one": Estimate(1, 1, 1, 1), "other": Estimate(1000, 1000, 1000, 1)}
    assert not differ(found["one"], found["other"])


@pytest.mark.parametrize(
    ("other", "different"),
    [
        (Estimate(200, 190, 210, 3), True),
        (Estimate(50, 45, 55, 3), True),
        (Estimate(120, 111.5, 123, 3), True),
        (Estimate(122, 110, 123, 3), False),  # the intervals touch
        (Estimate(119, 111.5, 123, 3), False),  # less than a fifth
        (Estimate(200, 100, 210, 3), False),  # the intervals overlap
        (Estimate(0, 0, 0, 3), True),
    ],
)
def test_two_estimates_differ_when_intervals_are_apart_and_medians_by_a_fifth(
    other: Estimate, *, different: bool
) -> None:
    one = Estimate(100, 90, 110, 3)
    assert differ(one, other) == differ(other, one) == different


def test_less_than_what_is_resolved_is_no_difference() -> None:
    found = estimates(
        {"none": [0.0, 0.0, 0.0], "a little": [0.001, 0.001, 0.002], "much": [9.0, 10.0, 11.0]}, grain=0.05
    )
    assert not differ(found["none"], found["a little"])
    assert differ(found["none"], found["much"])


def test_nothing_does_not_differ_from_nothing() -> None:
    assert not differ(Estimate(0, 0, 0, 3), Estimate(0, 0, 0, 3))


def _luck(seed: int, *, noise: float = 0.1) -> tuple[int, bool]:
    """Return how many of eight equal arms look worse than the best of them, and whether an arm of half does."""
    draw = random.Random(seed)  # noqa: S311 - repeatable
    values = {f"equal {n}": [100 * draw.lognormvariate(0, noise) for _ in range(3)] for n in range(8)}
    found = estimates(values | {"half": [50 * draw.lognormvariate(0, noise) for _ in range(3)]})
    half = found.pop("half")
    best = max(found.values(), key=lambda each: each.value)
    return sum(differ(best, each) for each in found.values()), differ(best, half)


def test_luck_makes_no_differences_and_hides_none() -> None:
    lucky, halves = zip(*(_luck(seed) for seed in range(60)), strict=True)
    assert sum(lucky) <= 1
    assert sum(halves) >= 55
