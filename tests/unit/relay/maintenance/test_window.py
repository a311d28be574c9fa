"""What is done about the slot that keeps WAL for replays."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import NotOurs
from relay.core.position import Lsn
from relay.maintenance.window import LOST, NOT_WANTED, RENAMED, TOO_MUCH, Drop, Keep, Make, Move, decide
from relay.storage.slots.replay_slot import ReplaySlotState

MIB = 1 << 20
NAME = "relay_replay"
END = 100 * MIB
MADE = ReplaySlotState(
    noted=NAME,
    found=True,
    here=True,
    lost=False,
    oldest=str(Lsn(END - 8 * MIB)),
    retained_bytes=8 * MIB,
    confirmed=str(Lsn(END - MIB)),
    slot_retained_bytes=MIB,
    wal_end=str(Lsn(END)),
    keep_size_mib=-1,
)
NONE = replace(MADE, noted=None, found=False, here=False, oldest=None, retained_bytes=None)


def decided(state: ReplaySlotState, size: int | None = 8 * MIB, own_budget: int | None = None) -> object:
    return decide(state, size=size, own_budget=own_budget, name=NAME)


def test_without_a_window_nothing_is_made_and_what_was_made_is_dropped() -> None:
    assert decided(NONE, None) == Keep()
    assert decided(replace(NONE, found=True, here=True), None) == Keep()
    assert decided(MADE, None) == Drop(NOT_WANTED, wanted=False)


def test_it_is_made_as_soon_as_the_relays_slot_retains_no_more_than_it_may() -> None:
    assert decided(NONE) == Make()
    assert decided(replace(NONE, noted=NAME)) == Make()
    assert decided(replace(NONE, slot_retained_bytes=8 * MIB + 1)) == Keep()
    assert decided(replace(NONE, slot_retained_bytes=None, confirmed=None)) == Keep()


@pytest.mark.parametrize("state", [replace(MADE, noted=None), replace(MADE, here=False)])
def test_a_slot_that_the_relay_has_not_made_or_that_is_of_another_database_is_left_alone(
    state: ReplaySlotState,
) -> None:
    with pytest.raises(NotOurs, match=r"if nobody uses it, SELECT pg_drop_replication_slot\('relay_replay'\)"):
        decided(state)


def test_one_that_is_lost_or_of_another_name_is_made_again() -> None:
    assert decided(replace(MADE, lost=True)) == Drop(LOST, wanted=True)
    assert decided(replace(MADE, noted="other_replay")) == Drop(RENAMED, wanted=True)


def test_it_stays_until_it_retains_more_than_it_may_and_then_lets_an_eighth_go() -> None:
    assert decided(MADE) == Keep()
    more = replace(MADE, retained_bytes=8 * MIB + 1, oldest=str(Lsn(END - 8 * MIB - 1)))
    assert decided(more) == Move(Lsn(END - 7 * MIB))


def test_the_budget_of_the_slot_bounds_it() -> None:
    assert decided(MADE, size=100 * MIB, own_budget=4 * MIB) == Move(Lsn(END - 4 * MIB + MIB // 2))
    assert decided(MADE, size=1000 * MIB, own_budget=None) == Keep()
    with_limit = replace(MADE, keep_size_mib=100, retained_bytes=81 * MIB, oldest=str(Lsn(END - 81 * MIB)))
    assert decided(with_limit, size=1000 * MIB) == Move(Lsn(END - 70 * MIB))


def test_it_is_not_moved_beyond_the_relays_slot() -> None:
    behind = replace(
        MADE, confirmed=str(Lsn(END - 9 * MIB)), slot_retained_bytes=9 * MIB, retained_bytes=20 * MIB,
        oldest=str(Lsn(END - 20 * MIB)),
    )  # fmt: skip
    assert decided(behind) == Move(Lsn(END - 9 * MIB))


def test_what_a_long_transaction_keeps_is_let_go_by_moving_on_and_then_by_dropping_the_slot() -> None:
    held = replace(MADE, retained_bytes=50 * MIB)
    assert decided(held) == Move(Lsn(END - 7 * MIB))
    caught_up = replace(held, oldest=held.confirmed)
    assert decided(caught_up) == Drop(TOO_MUCH, wanted=True)
    assert decided(replace(caught_up, slot_retained_bytes=50 * MIB)) == Keep()
    assert decided(replace(caught_up, confirmed=None, slot_retained_bytes=None)) == Move(Lsn(END))


@given(
    size=st.integers(MIB, 64 * MIB),
    steps=st.lists(st.tuples(st.integers(0, 32 * MIB), st.integers(0, 40 * MIB)), max_size=30),
)
def test_behind_each_look_it_retains_no_more_than_it_may_or_than_the_relays_slot(
    size: int, steps: list[tuple[int, int]]
) -> None:
    """Without long transactions, WAL is retained from where a slot stands."""
    end, slot = 1000 * MIB, 1000 * MIB
    window: int | None = None
    for grown, confirmed in steps:
        end += grown
        slot = min(end, slot + confirmed)
        state = ReplaySlotState(
            noted=None if window is None else NAME,
            found=window is not None,
            here=window is not None,
            lost=False,
            oldest=None if window is None else str(Lsn(window)),
            retained_bytes=None if window is None else end - window,
            confirmed=str(Lsn(slot)),
            slot_retained_bytes=end - slot,
            wal_end=str(Lsn(end)),
            keep_size_mib=-1,
        )
        match decide(state, size=size, own_budget=None, name=NAME):
            case Make():
                window = slot
            case Move(to):
                assert window is not None
                assert window < to <= slot
                window = to
            case Drop():
                window = None
            case Keep():
                pass
        if window is not None:
            assert window <= slot
            assert end - window <= max(size, end - slot)
        else:
            assert end - slot > size
