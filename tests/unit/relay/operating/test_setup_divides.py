"""Which relays fit beside each other, and where those begin that take the place of others."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import NotOurs
from relay.core.hashing.partition import Partition
from relay.core.position import Snapshot
from relay.core.transactions import Transactions
from relay.operating.setup.dividing.fitting import Reader, require_fits
from relay.operating.setup.dividing.taking_over import sees
from tests.support.examples import OWNER

WHOLE = Reader("orders", "s", 1, 1, vacant=False)
OF_THREE = [
    Reader("a", "s_a", 1, 3, vacant=False),
    Reader("b", "s_b", 2, 3, vacant=False),
    Reader("partition 3/3 of outbox.event", None, 3, 3, vacant=True),
]
FULL = [*OF_THREE[:2], Reader("c", "s_c", 3, 3, vacant=False)]


@pytest.mark.parametrize(
    ("partition", "readers"),
    [
        ("1/1", []),
        ("1/1", [WHOLE]),
        ("1/4", []),
        ("3/3", OF_THREE),
        ("3/3", [*OF_THREE, WHOLE]),
    ],
)
def test_what_fits(partition: str, readers: Sequence[Reader]) -> None:
    require_fits(replace(OWNER, partition=Partition.parse(partition)), readers)


@pytest.mark.parametrize(
    ("partition", "readers", "said"),
    [
        (
            "1/4",
            OF_THREE,
            (
                "outbox.event is divided into 3 partitions (relay 'a', 'b'), and relay 'relay' has "
                "RELAY_PARTITION=1/4 - to publish a part that nobody does, set RELAY_PARTITION=3/3; to change the "
                "number, stop all its relays, then run `relay setup --take-over 'a'`"
            ),
        ),
        ("1/4", FULL, "has RELAY_PARTITION=1/4 - to change the number, stop all its relays"),
        ("1/1", FULL, "and relay 'relay' is set to publish all of it - to change the number"),
        (
            "1/4",
            [WHOLE],
            (
                "relay 'orders' publishes all events of outbox.event, and relay 'relay' has RELAY_PARTITION=1/4 - stop"
                " the relay whose place the partitions take, then run `relay setup --take-over 'orders'`"
            ),
        ),
        (
            "2/3",
            OF_THREE,
            (
                "partition 2/3 of outbox.event has relay 'b', and this is relay 'relay' - if this is the same relay, "
                "set RELAY_NAME=b and RELAY_SLOT=s_b; or set RELAY_PARTITION to one that has no relay: 3/3"
            ),
        ),
        ("2/3", FULL, "set RELAY_NAME=b and RELAY_SLOT=s_b; every partition has one"),
        (
            "3/3",
            [each._replace(by=["aggregatetype", "aggregateid"]) for each in OF_THREE],
            "is divided by its columns aggregatetype, aggregateid, and relay 'relay' is set to",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_both_sides(partition: str, readers: Sequence[Reader], said: str) -> None:
    with pytest.raises(NotOurs) as refused:
        require_fits(replace(OWNER, partition=Partition.parse(partition)), readers)
    assert said in str(refused.value)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    xmax = draw(st.integers(3, 60))
    running = tuple(sorted(draw(st.sets(st.integers(3, xmax - 1)) if xmax > 3 else st.just(set[int]()))))
    return Snapshot(running[0] if running else xmax, xmax, running)


@given(snapshots())
def test_a_snapshot_is_found_again_by_what_it_sees(snapshot: Snapshot) -> None:
    found = sees(Transactions.of(each for each in range(70) if snapshot.sees(each)))
    assert [found.sees(each) for each in range(70)] == [snapshot.sees(each) for each in range(70)]
    assert Snapshot.parse(str(found)) == found
