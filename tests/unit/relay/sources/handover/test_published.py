"""What a stream passes over, which fences count, and what a poll would have to pass over."""

from relay.core.position import Lsn, Snapshot
from relay.core.transactions import Transactions
from relay.sources.wal.published import Published
from relay.storage.state import Filter, State

N = Snapshot(700, 710, (705,))
F = Lsn(0x2000)
STATE = State("wal", Lsn(0x1000), N, Transactions.of([705]), filter=Filter(N, F))


def test_what_n_sees_or_k_holds_is_passed_over_if_its_commit_record_begins_before_f() -> None:
    published = Published(STATE)
    assert published.polled(701, Lsn(F - 1))
    assert published.polled(705, Lsn(F - 1))
    assert not published.polled(710, Lsn(F - 1))


def test_behind_f_everything_is_new() -> None:
    """N was taken before F was read, so no transaction that N sees begins to commit there; its id may be another's."""
    published = Published(STATE)
    assert not published.polled(701, F)
    assert not published.polled(705, F)


def test_a_fence_counts_from_f_on() -> None:
    published = Published(STATE)
    assert not published.counts(Lsn(F - 1))
    assert published.counts(F)


def test_the_filter_ends_when_f_is_confirmed() -> None:
    published = Published(STATE)
    published.confirmed(Lsn(F - 1), None)
    assert published.state(Lsn(F - 1)).filter == STATE.filter
    published.confirmed(F, None)
    assert published.state(F).filter is None
    assert not published.filtering


def test_k_is_what_was_streamed_and_no_confirmed_fence_sees() -> None:
    published = Published(State("wal", Lsn(0x1000), Snapshot(700, 700), Transactions()))
    published.ended(701, Lsn(0x1100))
    published.ended(702, Lsn(0x1200))
    published.confirmed(Lsn(0x1100), None)
    assert published.state(Lsn(0x1100)).streamed == Transactions.of([701]), "702 is not confirmed"
    published.confirmed(Lsn(0x1300), Snapshot(701, 703, (701,)))
    state = published.state(Lsn(0x1300))
    assert (state.snapshot, state.streamed) == (Snapshot(701, 703, (701,)), Transactions.of([701]))
