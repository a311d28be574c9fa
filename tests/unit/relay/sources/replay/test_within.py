"""What is left of a stream of the WAL that is cut to a range."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from relay.core.event import Boundary, OutboxEvent
from relay.core.position import Lsn
from relay.core.replay import WalRange
from relay.sources.replay.within import Cut, Located, Within

Transaction = tuple[int, int, list[str]]
"""Where its commit record begins, where it ends, and its events."""


def event(name: str) -> OutboxEvent:
    return OutboxEvent(name, 1, "order", "a", 1, "paid", b"{}", {}, None, None, datetime(2026, 1, 1, tzinfo=UTC))


def log(sizes: list[tuple[int, int]]) -> list[Transaction]:
    """Return transactions with so many bytes before the commit record, and so many events."""
    at, found = 100, []
    for number, (gap, events) in enumerate(sizes):
        begin = at + gap
        at = begin + 10
        found.append((begin, at, [f"{number}.{place}" for place in range(events)]))
    return found


def streamed(
    transactions: list[Transaction], wanted: WalRange, start: Lsn
) -> tuple[list[str], list[Boundary[Lsn]], Cut]:
    """Return the events and boundaries that are left of a stream that begins at `start`, as the server sends it."""
    within = Within(wanted.after, wanted.until)
    cut = Cut(within, wanted, start=start)
    ids: list[str] = []
    boundaries: list[Boundary[Lsn]] = []
    for begin, end, names in transactions:
        if begin < start or cut.ended:
            continue
        items: list[OutboxEvent | Boundary[Lsn]] = [
            event(name) for name in names if not within.polled(None, Lsn(begin))
        ]
        items.append(Boundary(Lsn(end), 1.0))
        for item in cut.cut(items):
            if isinstance(item, Located):
                assert item.commits_at == begin
                ids.append(item.event.id)
            else:
                boundaries.append(item)
    return ids, boundaries, cut


SIZES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=12)


@given(sizes=SIZES, after=st.integers(0, 300), length=st.integers(1, 300))
def test_it_has_the_transactions_whose_commit_records_begin_in_the_range(
    sizes: list[tuple[int, int]], after: int, length: int
) -> None:
    transactions = log(sizes)
    wanted = WalRange("slot", Lsn(after), Lsn(after + length))
    ids, boundaries, cut = streamed(transactions, wanted, wanted.after)
    assert ids == [name for begin, _, names in transactions if after <= begin < after + length for name in names]
    assert all(boundary.position <= wanted.until for boundary in boundaries)
    # The server does not send what begins before the start, even if it ends behind the range.
    assert cut.ended == any(end >= wanted.until for begin, end, _ in transactions if begin >= after)


@given(sizes=SIZES, data=st.data())
def test_what_is_before_a_boundary_and_what_is_behind_it_are_the_whole(
    sizes: list[tuple[int, int]], data: st.DataObject
) -> None:
    transactions = [each for each in log(sizes) if each[2]] or log([(0, 1)])
    names = [name for _, _, each in transactions for name in each]
    first = data.draw(st.integers(0, len(transactions[0][2]) - 1))
    last = data.draw(st.integers(names.index(transactions[-1][2][0]), len(names) - 1))
    if last < first:
        first = 0
    begin, end = Lsn(transactions[0][0]), Lsn(transactions[-1][1])
    wanted = WalRange("slot", begin, end, names[first], names[last])
    whole, boundaries, _ = streamed(transactions, wanted, begin)
    assert whole == names[first : last + 1]
    for boundary in boundaries:
        rest, _, cut = streamed(transactions, wanted, boundary.position)
        assert whole[len(whole) - len(rest) :] == rest
        assert not cut.first_missing
        before = [name for _, at, each in transactions if at <= boundary.position for name in each]
        assert len([name for name in whole if name in before]) + len(rest) == len(whole)


def test_a_first_event_that_has_not_come_is_known() -> None:
    wanted = WalRange("slot", Lsn(100), Lsn(200), "missing")
    ids, _, cut = streamed(log([(0, 2)]), wanted, wanted.after)
    assert (ids, cut.first_missing) == ([], True)
