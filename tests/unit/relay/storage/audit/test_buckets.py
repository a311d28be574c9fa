"""An event is in exactly one bucket, whatever transactions overlap and whenever positions were noted."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from relay.core.position import Snapshot
from relay.storage.audit.buckets import Bucket, Edge, divide, settled

BEGIN = datetime(2026, 11, 27, 14, 0, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def edge(seconds: float, snapshot: str, given_out: int | None = None) -> Edge:
    return Edge(BEGIN + timedelta(seconds=seconds), Snapshot.parse(snapshot), given_out)


def history(ends: list[int], moments: list[int], step: float) -> list[Edge]:
    """Return positions of a server on which transaction n + 3 begins at n and ends at ends[n]."""
    edges = []
    for number, at in enumerate(sorted(moments)):
        begun = [n + 3 for n in range(len(ends)) if n <= at]
        running = tuple(xid for xid in begun if ends[xid - 3] > at)
        xmax = max(begun, default=2) + 1
        edges.append(
            Edge(BEGIN + timedelta(seconds=step * number), Snapshot(min(running, default=xmax), xmax, running))
        )
    return edges


def holds(bucket: Bucket, xid: int) -> bool:
    return not bucket.after.snapshot.sees(xid) and bucket.until.snapshot.sees(xid)


@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=20),
    moments=st.lists(st.integers(0, 30), min_size=2, max_size=12),
    step=st.floats(0.5, 90),
)
def test_each_transaction_between_the_first_and_the_last_position_is_in_one_bucket(
    lengths: list[int], moments: list[int], step: float
) -> None:
    ends = [begin + length for begin, length in enumerate(lengths)]
    edges = history(ends, moments, step)
    buckets = divide(edges, MINUTE)
    for xid in range(3, 3 + len(ends)):
        between = not edges[0].snapshot.sees(xid) and edges[-1].snapshot.sees(xid)
        assert sum(holds(bucket, xid) for bucket in buckets) == between


def test_a_bucket_ends_at_the_last_position_of_its_minute_and_the_first_position_is_none() -> None:
    edges = [edge(second, f"{second + 3}:{second + 3}:") for second in range(0, 130, 10)]
    found = divide(edges, MINUTE)
    assert [bucket.until.at.second for bucket in found] == [55, 55, 5]
    assert (found[0].after, found[-1].until) == (edges[0], edges[-1])
    assert divide(edges[:1], MINUTE) == []


def test_a_position_of_a_clock_that_was_set_back_is_passed_over() -> None:
    edges = [edge(0, "10:10:"), edge(61, "30:30:"), edge(122, "20:20:"), edge(183, "40:40:")]
    assert [bucket.until.snapshot.xmax for bucket in divide(edges, MINUTE)] == [30, 40]


def test_what_was_confirmed_is_settled_once_every_transaction_of_that_time_has_ended() -> None:
    edges = [edge(0, "10:10:", 11), edge(10, "20:20:", 21), edge(20, "30:30:", 31)]
    assert settled(edges, Snapshot.parse("25:40:25")) == edges[1].at
    assert settled(edges, Snapshot.parse("40:40:")) == edges[2].at
    assert settled(edges, Snapshot.parse("5:40:5")) is None
