"""LSNs are read, written and ordered as numbers; snapshots are read and written as Postgres does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.position import Lsn, Snapshot


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_an_lsn_survives_its_own_text(value: int) -> None:
    assert Lsn.parse(str(Lsn(value))) == value


def test_lsns_are_ordered_as_numbers_and_not_as_text() -> None:
    assert Lsn.parse("0/9") < Lsn.parse("0/10")
    assert Lsn.parse("9/0") < Lsn.parse("10/0")
    assert Lsn.parse("1/0") > Lsn.parse("0/FFFFFFFF")


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "0/G", "0/123456789", " 0/1", "0/1\n", "-1/0"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an LSN"):
        Lsn.parse(text)


@given(st.integers(1, 2**64 - 1), st.sets(st.integers(0, 50)), st.integers(51, 60))
def test_a_snapshot_survives_its_own_text(xmin: int, running: set[int], width: int) -> None:
    snapshot = Snapshot(xmin, xmin + width, tuple(sorted(xmin + each for each in running)))

    assert Snapshot.parse(str(snapshot)) == snapshot


@pytest.mark.parametrize(
    "text", ["", "10:20", "20:10:", "0:10:", "10:20:9", "10:20:20", "10:20:12,11", "10:20:11,11", "10:20:11,", "a:b:"]
)
def test_what_postgres_never_gives_as_a_snapshot_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a snapshot"):
        Snapshot.parse(text)


@pytest.mark.parametrize(
    ("transaction", "seen"), [(9, True), (10, False), (11, True), (14, False), (19, True), (20, False), (99, False)]
)
def test_a_snapshot_sees_what_had_ended(transaction: int, seen: bool) -> None:  # noqa: FBT001 - a parameter
    assert Snapshot.parse("10:20:10,14").sees(transaction) is seen
