"""Numbers as the report writes them."""

import pytest

from bench.compare.findings.phrasing import listed, number, plural, quantity, stated, times
from bench.compare.findings.statistics import Estimate


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00123456, "0.00123"), (0.5, "0.5"), (1.005, "1"), (12.345, "12.3"), (999.9, "1,000"),
     (123.4, "123"), (12_345, "12,300"), (-2.5, "-2.5")],
)  # fmt: skip
def test_a_number_has_three_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.0031, "s", "3.1 ms"), (0, "s", "0 s"), (45e-6, "s", "45 µs"), (12, "s", "12 s"), (900, "s", "15 min"),
     (2_500_000, "B", "2.5 MB"), (0, "B", "0 B"), (757, "B", "757 B"), (7010, "1/s", "7,010/s"), (1.9, "rows", "1.9"),
     (3, "", "3"), (4, "pages", "4 pages")],
)  # fmt: skip
def test_a_quantity_is_in_the_multiple_of_its_unit_that_makes_it_short(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_an_interval_is_in_the_unit_of_its_median() -> None:
    assert stated(Estimate(0.9, 0.85, 1.2, 3), "s") == "900 ms (850 to 1,200)"
    assert stated(Estimate(0.9, 0.9, 0.9, 1), "s") == "900 ms"


def test_a_quotient_has_two_digits() -> None:
    assert [times(21.3, 1), times(0.617, 1), times(2514, 1)] == ["21 times", "0.62 times", "2,500 times"]


def test_names_with_commas_are_told_apart() -> None:
    assert [listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a; b; and c"]


def test_one_is_no_plural() -> None:
    assert [plural(1, "event"), plural(2000, "event")] == ["1 event", "2,000 events"]
