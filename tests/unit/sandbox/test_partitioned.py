"""What the demo of four relays counts: versions out of order, and when its result is clean."""

from dataclasses import replace

import pytest

from sandbox.demo.partitioned.counting import Result, grown
from sandbox.demo.partitioned.order import Order, seen


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([], Order(0, 0, 0)),
        ([("a", 1), ("b", 1), ("a", 2), ("b", 2)], Order(4, 0, 0)),
        ([("a", 1), ("a", 2), ("a", 1), ("a", 2), ("a", 3)], Order(3, 2, 0)),
        ([("a", 2), ("a", 1)], Order(2, 0, 1)),
        ([("a", 3), ("a", 1), ("a", 2), ("b", 1)], Order(4, 0, 2)),
    ],
)
def test_a_repetition_is_no_disorder_and_a_version_behind_a_later_one_is(
    versions: list[tuple[str, int]], expected: Order
) -> None:
    assert seen(versions) == expected


CLEAN = Result(
    events=4, published=Order(4, 1, 0), by_relay={"relay-1": 3, "relay-2": 2}, by_queue={"reader-0": 1, "reader-1": 3},
    gaps=0, in_view=2, orders=2, seconds=1.0,
)  # fmt: skip


@pytest.mark.parametrize(
    "worse",
    [
        {"published": Order(3, 0, 0)},
        {"published": Order(4, 0, 1)},
        {"gaps": 1},
        {"in_view": 1},
        {"by_queue": {"reader-0": 4, "reader-1": 0}},
        {"by_relay": {"relay-1": 4, "relay-2": 0}},
        {"by_queue": {"reader-0": 1, "reader-1": 2}},
    ],
)
def test_it_is_clean_if_nothing_is_missing_or_out_of_order_and_all_had_a_part(worse: dict[str, object]) -> None:
    assert CLEAN.clean
    assert not replace(CLEAN, **worse).clean  # type: ignore[arg-type]


def test_what_was_counted_before_does_not_count() -> None:
    assert grown({"a": 1, "b": 2}, {"a": 5, "b": 2}) == {"a": 4, "b": 0}
