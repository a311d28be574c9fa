"""What two sources have not given alike is found, whatever came in between; what is only late is no difference."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.position import Lsn, PollPosition, Round, Snapshot
from relay.shadow import comparing
from relay.shadow.comparing import Behind, Comparison, Side
from relay.shadow.row import Row

PATIENCE = 30.0
SIDES: tuple[Side, Side] = ("live", "shadow")
ALL = Snapshot(10_000, 10_000)


def row(number: int, *, aggregate: str = "a", transaction: int | None = None) -> Row:
    return Row(f"id{number}", number, 100 + number if transaction is None else transaction, "order", aggregate)


def compared(since: int = 100, at_most: int = 100) -> Comparison:
    return Comparison(since, patience=PATIENCE, at_most=at_most)


def kinds(comparison: Comparison) -> list[tuple[str, str]]:
    return [(difference.kind, difference.message_id) for difference in comparison.take().differences]


def test_what_both_give_is_compared_and_the_first_of_both_is_ahead() -> None:
    comparison = compared()
    comparison.arrived("live", [row(1), row(2)], 10.0)
    comparison.arrived("shadow", [row(1)], 10.5)
    comparison.arrived("shadow", [row(3)], 11.0)
    comparison.arrived("live", [row(3)], 11.25)
    found = comparison.take()
    assert (found.live, found.shadow, found.differences) == ([0.5], [0.25], [])
    assert not comparison.take()


def test_who_was_first_is_a_matter_of_time_and_not_of_which_is_compared_first() -> None:
    comparison = compared()
    comparison.arrived("shadow", [row(1)], 10.5)
    comparison.arrived("live", [row(1)], 10.0)
    comparison.arrived("live", [row(2)], 20.5)
    comparison.arrived("shadow", [row(2)], 20.0)
    found = comparison.take()
    assert (found.live, found.shadow) == ([0.5], [0.5])


def test_a_transaction_from_before_both_were_open_does_not_count() -> None:
    comparison = compared(since=101)
    comparison.arrived("live", [row(0), row(1)], 0.0)
    comparison.reached("shadow", ALL)
    comparison.overdue(100.0)
    assert kinds(comparison) == [("missing_shadow", "id1")]


def test_what_a_poll_has_passed_is_missing_when_it_has_not_come_in_time() -> None:
    comparison = compared()
    comparison.arrived("live", [row(1)], 0.0)
    comparison.reached("shadow", ALL)
    comparison.overdue(PATIENCE - 0.1)
    assert not comparison.take()
    comparison.overdue(PATIENCE)
    assert kinds(comparison) == [("missing_shadow", "id1")]
    comparison.overdue(1000.0)
    assert not comparison.take()


def test_what_the_snapshot_does_not_see_is_not_missing_however_late_it_is() -> None:
    """A transaction that waits for a slow standby is in the WAL, and not visible yet."""
    comparison = compared()
    comparison.arrived("live", [row(1)], 0.0)
    comparison.reached("shadow", Snapshot(101, 200, (101,)))
    comparison.overdue(10_000.0)
    assert not comparison.take()
    comparison.reached("shadow", PollPosition(Snapshot(101, 200, (101,)), Round(ALL, 7)))
    comparison.overdue(10_000.0)
    assert not comparison.take(), "a part of a round is no proof"


def test_what_a_stream_has_passed_is_missing_once_it_has_come_to_where_the_wal_ended_then() -> None:
    comparison = compared()
    comparison.arrived("shadow", [row(1)], 5.0)
    comparison.mark("live", 4.0, Lsn(100))
    comparison.mark("live", 6.0, Lsn(200))
    comparison.reached("live", Lsn(199))
    comparison.overdue(1000.0)
    assert not comparison.take()
    comparison.reached("live", Lsn(200))
    comparison.overdue(1000.0)
    assert kinds(comparison) == [("missing_live", "id1")]


def test_a_side_that_stands_still_makes_nothing_missing() -> None:
    comparison = compared()
    comparison.arrived("shadow", [row(1)], 5.0)
    comparison.mark("live", 6.0, Lsn(200))
    comparison.overdue(100_000.0)
    assert not comparison.take()


def test_what_comes_after_it_was_missing_is_no_second_difference() -> None:
    comparison = compared()
    comparison.arrived("live", [row(1)], 0.0)
    comparison.reached("shadow", ALL)
    comparison.overdue(PATIENCE)
    comparison.arrived("shadow", [row(1)], PATIENCE + 1)
    comparison.reached("live", ALL)
    comparison.overdue(1000.0)
    assert kinds(comparison) == [("missing_shadow", "id1")]
    comparison.arrived("shadow", [row(1)], PATIENCE + 2)
    assert kinds(comparison) == [("twice", "id1")]


@pytest.mark.parametrize("side", ["live", "shadow"])
def test_what_one_side_gives_again_is_there_twice(side: Side) -> None:
    comparison = compared()
    comparison.arrived(side, [row(1), row(1)], 0.0)
    comparison.arrived("shadow" if side == "live" else "live", [row(1)], 0.0)
    comparison.arrived(side, [row(1)], 0.0)
    assert kinds(comparison) == [("twice", "id1"), ("twice", "id1")]


def test_an_id_that_was_written_again_is_another_event() -> None:
    comparison = compared()
    again = Row("id1", 2, 102, "order", "a")
    for side in SIDES:
        comparison.arrived(side, [row(1), again], 0.0)
    found = comparison.take()
    assert (len(found.live), found.differences) == (2, [])


def test_another_order_within_an_aggregate_is_a_difference_and_one_between_aggregates_is_none() -> None:
    comparison = compared()
    first, second, other = row(1), row(2), row(3, aggregate="b")
    comparison.arrived("live", [first, second, other], 0.0)
    comparison.arrived("shadow", [other, second, first], 0.0)
    assert kinds(comparison) == [("order", "id1")]


def test_an_event_that_is_missing_does_not_put_the_others_out_of_order() -> None:
    comparison = compared()
    comparison.arrived("live", [row(1), row(2), row(3)], 0.0)
    comparison.arrived("shadow", [row(1), row(3)], 0.0)
    assert not comparison.take().differences


def test_more_than_may_wait_is_behind() -> None:
    comparison = compared(at_most=2)
    comparison.arrived("shadow", [row(1), row(2)], 0.0)
    with pytest.raises(Behind):
        comparison.arrived("shadow", [row(3)], 0.0)


def test_only_so_many_events_and_aggregates_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "_REMEMBERED", 2)
    comparison = compared()
    for number in range(5):
        for side in SIDES:
            comparison.arrived(side, [row(number, aggregate=str(number))], 0.0)
    comparison.arrived("live", [row(4), row(3)], 0.0)
    assert kinds(comparison) == [("twice", "id4"), ("twice", "id3")]
    comparison.arrived("live", [row(0)], 0.0)
    assert not comparison.take(), "it is long ago, and waits as if it were new"


batches = st.lists(st.integers(1, 4), min_size=1, max_size=40)


def cut(rows: Sequence[Row], sizes: Sequence[int]) -> list[Sequence[Row]]:
    found, at = [], 0
    for size in sizes:
        found.append(rows[at : at + size])
        at += size
    return [*found, rows[at:]]


@given(
    count=st.integers(1, 25),
    aggregates=st.integers(1, 4),
    live_cut=batches,
    shadow_cut=batches,
    dropped_live=st.sets(st.integers(0, 24), max_size=3),
    dropped_shadow=st.sets(st.integers(0, 24), max_size=3),
    doubled=st.sets(st.integers(0, 24), max_size=3),
    swapped=st.booleans(),
    interleaving=st.lists(st.booleans(), max_size=60),
)
def test_exactly_the_planted_differences_are_found(  # noqa: PLR0913, PLR0917 - what is planted
    count: int,
    aggregates: int,
    live_cut: list[int],
    shadow_cut: list[int],
    dropped_live: set[int],
    dropped_shadow: set[int],
    doubled: set[int],
    interleaving: list[bool],
    *,
    swapped: bool,
) -> None:
    events = [row(number, aggregate=str(number % aggregates)) for number in range(count)]
    live = [event for number, event in enumerate(events) if number not in dropped_live]
    shadow: list[Row] = []
    for number, event in enumerate(events):
        if number not in dropped_shadow:
            shadow += [event] * (1 + (number in doubled))
    places = [place for place, event in enumerate(shadow) if event.aggregate_id == "0"]
    swaps = swapped and len(places) >= 2 and shadow[places[0]] != shadow[places[1]]
    if swaps:
        shadow[places[0]], shadow[places[1]] = shadow[places[1]], shadow[places[0]]
    comparison = compared()
    left: dict[Side, list[Sequence[Row]]] = {"live": cut(live, live_cut), "shadow": cut(shadow, shadow_cut)}
    turns: list[Side] = ["live" if turn else "shadow" for turn in interleaving]
    for side in [*turns, *SIDES * 60]:
        if left[side]:
            comparison.arrived(side, left[side].pop(0), 0.0)
    for side in SIDES:
        comparison.reached(side, ALL)
    comparison.overdue(PATIENCE)
    found = Counter((each.kind, each.message_id) for each in comparison.take().differences)
    ids = {number: event.id for number, event in enumerate(events)}
    expected = Counter(
        {
            **{("missing_live", ids[n]): 1 for n in dropped_live - dropped_shadow if n < count},
            **{("missing_shadow", ids[n]): 1 for n in dropped_shadow - dropped_live if n < count},
            **{("twice", ids[n]): 1 for n in doubled - dropped_shadow if n < count},
        }
    )
    orders = Counter({key: times for key, times in found.items() if key[0] == "order"})
    assert found - orders == expected
    both = {event.id for event in live}
    if swaps and {shadow[places[0]].id, shadow[places[1]].id} <= both:
        assert orders
    elif not swaps:
        assert not orders
