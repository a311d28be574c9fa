"""The ledger against a model that keeps everything and recomputes: never ahead, never behind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.event import Boundary
from relay.core.ledger import Ledger, Stretch
from relay.core.position import Lsn


class Model:
    """The stream as a list: events that are settled or not, and boundaries."""

    def __init__(self) -> None:
        self.stream: list[Lsn | int] = []
        self.unsettled: set[int] = set()

    def position(self) -> Lsn | None:
        position = None
        for entry in self.stream:
            if isinstance(entry, Lsn):
                position = entry
            elif entry in self.unsettled:
                break
        return position


@given(st.data())
def test_the_position_is_the_highest_boundary_below_which_everything_is_settled(data: st.DataObject) -> None:
    ledger, model = Ledger(), Model()
    stretches: dict[int, Stretch] = {}
    lsn = 0
    for number in range(data.draw(st.integers(0, 60), label="steps")):
        steps = ["enter", "boundary", *(["settle"] * 2 if model.unsettled else [])]
        match data.draw(st.sampled_from(steps)):
            case "enter":
                stretches[number] = ledger.enter()
                model.stream.append(number)
                model.unsettled.add(number)
            case "boundary":
                lsn += data.draw(st.integers(0, 3))
                ledger.boundary(Boundary(Lsn(lsn)))
                model.stream.append(Lsn(lsn))
            case _:
                event = data.draw(st.sampled_from(sorted(model.unsettled)))
                ledger.settle([stretches[event]])
                model.unsettled.remove(event)
        assert ledger.position == model.position()


def test_an_event_settled_after_a_later_one_still_holds_the_position_back() -> None:
    ledger = Ledger()
    first = ledger.enter()
    ledger.boundary(Boundary(Lsn(10)))
    second = ledger.enter()
    ledger.boundary(Boundary(Lsn(20)))

    ledger.settle([second])
    assert ledger.position is None
    ledger.settle([first])
    assert ledger.position == Lsn(20)


def test_an_event_without_its_boundary_does_not_move_the_position() -> None:
    ledger = Ledger()
    ledger.boundary(Boundary(Lsn(10)))
    ledger.settle([ledger.enter()])

    assert ledger.position == Lsn(10)


def test_settling_what_is_not_in_flight_is_refused() -> None:
    ledger = Ledger()
    stretch = ledger.enter()
    ledger.settle([stretch])

    with pytest.raises(ValueError, match="not in flight"):
        ledger.settle([stretch])


def test_a_boundary_that_goes_back_is_refused() -> None:
    ledger = Ledger()
    ledger.boundary(Boundary(Lsn(10)))

    with pytest.raises(ValueError, match="below"):
        ledger.boundary(Boundary(Lsn(9)))
    ledger.enter()
    ledger.boundary(Boundary(Lsn(20)))
    with pytest.raises(ValueError, match="below"):
        ledger.boundary(Boundary(Lsn(19)))
