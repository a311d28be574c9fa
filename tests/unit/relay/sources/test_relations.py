"""Which names in a stream are the outbox, by what the catalog said, and of when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import OutboxChanged
from relay.core.position import Snapshot
from relay.sources.layout import NATIVE
from relay.sources.wal.decoders.relations import Relations, moved
from relay.storage.facts import TableFacts

SEEN, UNSEEN, RUNNING = 99, 105, 101
FACTS = TableFacts(
    "p",
    leaves=[("outbox", "event_1"), ("outbox", "archive")],
    others=["event_backup", "event_detached"],
    snapshot="100:103:101",
)
FORMER = frozenset({("outbox", "event_detached"), ("outbox", "dropped")})


def hold(name: str, xid: int, *, alike: bool = False) -> bool:
    return Relations.of(NATIVE, FACTS, FORMER).hold(("outbox", name), xid, alike=alike)


@pytest.mark.parametrize("xid", [SEEN, UNSEEN, RUNNING])
def test_partitions_and_other_tables_are_told_apart_whatever_their_names_are(xid: int) -> None:
    assert hold("event_1", xid)
    assert hold("archive", xid)
    assert not hold("event_backup", xid)


@pytest.mark.parametrize("xid", [UNSEEN, RUNNING])
def test_a_name_that_came_after_the_facts_asks_for_new_ones(xid: int) -> None:
    for name in ("new", "event_2", "dropped"):
        with pytest.raises(OutboxChanged, match=f"table outbox.{name} is in the stream"):
            hold(name, xid)


def test_a_name_that_is_gone_is_the_outbox_if_it_was_or_if_it_is_called_like_a_partition() -> None:
    assert hold("dropped", SEEN)
    assert hold("event_2", SEEN)
    assert not hold("new", SEEN)
    assert not hold("events", SEEN)


def test_a_partition_that_was_attached_and_renamed_before_anybody_looked_is_known_by_its_columns() -> None:
    assert hold("new", SEEN, alike=True)
    assert not hold("event_backup", SEEN, alike=True)
    assert not Relations.of(NATIVE, FACTS, FORMER).hold(("tasks", "new"), SEEN, alike=True)
    with pytest.raises(OutboxChanged):
        hold("new", UNSEEN, alike=True)


def test_a_detached_partition_is_the_outbox_in_transactions_from_before_that() -> None:
    assert hold("event_detached", SEEN)
    assert not hold("event_detached", UNSEEN)


@given(
    st.integers(1, 2**40).flatmap(lambda xmin: st.tuples(st.just(xmin), st.integers(0, 50))),
    st.sets(st.integers(0, 49)),
    st.integers(-(2**30), 2**30),
)
def test_a_snapshot_sees_a_transaction_by_the_low_half_of_its_id(
    bounds: tuple[int, int], running: set[int], away: int
) -> None:
    xmin, width = bounds
    snapshot = Snapshot(xmin, xmin + width, tuple(sorted(xmin + each for each in running if each < width)))
    relations = Relations(("outbox", "event"), frozenset(), snapshot=snapshot)
    full = max(3, snapshot.xmax + away)
    seen = full < snapshot.xmax and full not in snapshot.running

    if seen:
        assert relations.hold(("outbox", "event_1"), full % 2**32)
    else:
        with pytest.raises(OutboxChanged):
            relations.hold(("outbox", "event_1"), full % 2**32)


@pytest.mark.parametrize(
    ("tx", "xid", "copied"),
    [
        ("741", 741, False),
        (str(2**32 + 741), 741, False),
        (str(5 * 2**32), 0, False),
        ("740", 741, True),
        (str(2**32 + 740), 741, True),
        (None, 741, False),
    ],
)
def test_a_row_that_another_transaction_wrote_was_moved(tx: str | None, xid: int, *, copied: bool) -> None:
    assert moved(tx, xid) == copied
