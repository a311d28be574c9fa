"""What a parked row says of its event."""

from msgspec import structs

from relay.core.position import Lsn
from relay.storage.parking import parameters, row
from tests.support.examples import EVENT


def test_a_row_says_where_its_event_stood_and_which_row_it_came_from() -> None:
    rows = [
        row(structs.replace(EVENT, transaction=741), 1, "returned", "no queue"),
        row(structs.replace(EVENT, transaction=741), 2, "returned", "no queue"),
        row(structs.replace(EVENT, transaction=742, redrives=17), 1, "returned", "no queue"),
    ]

    stored = parameters(rows, after=Lsn(0x20))

    assert (stored["transaction"], stored["place"]) == ([741, 741, 742], [1, 2, 1])
    assert stored["redrives"] == [None, None, 17]
    assert (stored["after_lsn"], stored["after_snapshot"]) == ("0/20", None)
    assert stored["payload"] == [EVENT.payload] * 3
