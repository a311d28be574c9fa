"""Fences: which come back, what they prove, and which one is overdue."""

from relay.core.event import Fence
from relay.core.position import Lsn, Snapshot
from relay.sources.wal.fences import Fences

SNAPSHOT = Snapshot(740, 745, (742,))


def test_the_oldest_fence_is_the_first_that_was_written_and_has_not_come_back() -> None:
    fences = Fences("nonce")
    first, _ = fences.write(1.0), fences.write(2.0)

    assert fences.oldest() == 1.0
    assert fences.read(Fence(f"{first} {SNAPSHOT}"), 4.0) == 3.0
    assert fences.oldest() == 2.0


def test_a_fence_that_could_not_be_written_is_not_waited_for() -> None:
    fences = Fences("nonce")
    fences.unwritten(fences.write(1.0))

    assert fences.oldest() is None


def test_a_fence_of_another_relay_is_passed_over() -> None:
    fences = Fences("nonce")
    fences.write(1.0)

    assert fences.read(Fence(f"other:1 {SNAPSHOT}"), 2.0) is None
    assert not fences.returned


def test_a_fence_proves_its_snapshot_when_its_own_transaction_is_confirmed() -> None:
    fences = Fences("nonce")
    for number, end in enumerate((10, 20, 30)):
        fences.read(Fence(f"{fences.write(number)} {number + 1}:{number + 1}:"), 5.0)
        fences.boundary(Lsn(end))

    assert fences.confirmed(Lsn(9)) is None
    last = fences.confirmed(Lsn(25))
    assert last is not None
    assert (last.written, last.snapshot) == (1, Snapshot(2, 2))
    assert fences.confirmed(Lsn(25)) is None
