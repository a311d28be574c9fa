"""A set of transactions is the set that it stands for, whatever the order in which they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.position import Snapshot
from relay.core.transactions import Transactions

ids = st.lists(st.integers(1, 60), max_size=60)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    xmin = draw(st.integers(1, 60))
    xmax = draw(st.integers(xmin, 61))
    running = draw(st.sets(st.integers(xmin, xmax - 1))) if xmin < xmax else set()
    return Snapshot(xmin, xmax, tuple(sorted(running)))


@given(ids)
def test_it_contains_what_was_added_and_nothing_else(added: list[int]) -> None:
    found = Transactions.of(added)

    assert {each for each in range(70) if each in found} == set(added)


@given(ids)
def test_ids_in_a_row_are_one_range(added: list[int]) -> None:
    beginnings = {each for each in added if each - 1 not in added}

    assert [start for start, _ in Transactions.of(added).ranges()] == sorted(beginnings)


@given(ids)
def test_it_survives_its_own_text(added: list[int]) -> None:
    assert Transactions.parse(str(Transactions.of(added))) == Transactions.of(added)


@given(ids, snapshots())
def test_only_what_a_snapshot_sees_leaves_it(added: list[int], snapshot: Snapshot) -> None:
    left = Transactions.of(added).unseen(snapshot)

    assert left == Transactions.of(each for each in added if not snapshot.sees(each))


@pytest.mark.parametrize("text", ["", "{[1,2)", "{[1,2]}", "{1}", "{[1,2),}", "{(1,2)}", "[1,2)"])
def test_what_postgres_never_gives_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a set of transactions"):
        Transactions.parse(text)
