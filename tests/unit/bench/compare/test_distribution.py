"""The compact distributions of `bench compare`."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compare.distribution import Distribution, merged, of

DURATIONS = st.lists(st.floats(1e-5, 1e4), min_size=1, max_size=200)


@given(DURATIONS, st.floats(0.001, 1))
def test_a_quantile_is_exact_to_one_percent(seconds: list[float], share: float) -> None:
    exact = sorted(seconds)[math.ceil(share * len(seconds)) - 1]
    assert of(seconds).quantile(share) == pytest.approx(exact, rel=0.01)


@given(DURATIONS)
def test_the_greatest_value_is_kept_as_it_is(seconds: list[float]) -> None:
    assert of(seconds).quantile(1) == max(seconds)


@given(DURATIONS, DURATIONS)
def test_merged_distributions_are_those_of_all_values(one: list[float], other: list[float]) -> None:
    assert merged([of(one), of(other)]) == of([*one, *other])


@given(DURATIONS)
def test_the_curve_rises_to_all_values(seconds: list[float]) -> None:
    curve = of(seconds).curve()
    assert curve == sorted(curve)
    assert curve[-1] == (max(seconds), 1)


def test_what_clocks_cannot_tell_apart_is_no_time_at_all() -> None:
    assert of([-0.001, -1, 0]).quantile(0.5) == 0


def test_there_is_no_quantile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        Distribution().quantile(0.5)
