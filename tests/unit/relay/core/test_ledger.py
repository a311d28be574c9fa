"""The ledger against a model that keeps everything and recomputes: never ahead, never behind.

Positions are drawn in any order and of both kinds: the ledger must go by the sequence of boundaries alone.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.event import Boundary
from relay.core.ledger import Ledger, Stretch
from relay.core.position import Lsn, Position, Snapshot


class Model:
    """The stream as a list: events that are settled or not, and boundaries."""

    def __init__(self) -> None:
        self.stream: list[Position | int] = []
        self.unsettled: set[int] = set()

    def position(self) -> Position | None:
        position: Position | None = None
        for entry in self.stream:
            if isinstance(entry, Position):
                position = entry
            elif entry in self.unsettled:
                break
        return position


POSITIONS: st.SearchStrategy[Position] = st.one_of(
    st.builds(Lsn, st.integers(0, 5)), st.integers(1, 5).map(lambda xid: Snapshot(xid, xid))
)


@given(st.data())
def test_the_position_is_the_last_boundary_before_which_everything_is_settled(data: st.DataObject) -> None:
    ledger, model = Ledger[Position](), Model()
    stretches: dict[int, Stretch] = {}
    for number in range(data.draw(st.integers(0, 60), label="steps")):
        steps = ["enter", "boundary", *(["settle"] * 2 if model.unsettled else [])]
        match data.draw(st.sampled_from(steps)):
            case "enter":
                stretches[number] = ledger.enter()
                model.stream.append(number)
                model.unsettled.add(number)
            case "boundary":
                position = data.draw(POSITIONS)
                ledger.boundary(Boundary(position))
                model.stream.append(position)
            case _:
                event = data.draw(st.sampled_from(sorted(model.unsettled)))
                ledger.settle([stretches[event]])
                model.unsettled.remove(event)
        assert ledger.position == model.position()


def test_an_event_settled_after_a_later_one_still_holds_the_position_back() -> None:
    ledger = Ledger[Lsn]()
    first = ledger.enter()
    ledger.boundary(Boundary(Lsn(10)))
    second = ledger.enter()
    ledger.boundary(Boundary(Lsn(20)))

    ledger.settle([second])
    assert ledger.position is None
    ledger.settle([first])
    assert ledger.position == Lsn(20)


def test_an_event_without_its_boundary_does_not_move_the_position() -> None:
    ledger = Ledger[Lsn]()
    ledger.boundary(Boundary(Lsn(10)))
    ledger.settle([ledger.enter()])

    assert ledger.position == Lsn(10)


def test_settling_what_is_not_in_flight_is_refused() -> None:
    ledger = Ledger[Lsn]()
    stretch = ledger.enter()
    ledger.settle([stretch])

    with pytest.raises(ValueError, match="not in flight"):
        ledger.settle([stretch])
