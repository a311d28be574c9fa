"""The replication stream's frames, against bytes laid out as the PostgreSQL manual lays them out."""

from struct import pack, unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.position import Lsn
from relay.sources.wal import frames
from relay.sources.wal.frames import Keepalive, standby_status

_U64 = st.integers(min_value=0, max_value=2**64 - 1)


@given(start=_U64, end=_U64, clock=st.integers(-(2**63), 2**63 - 1), payload=st.binary())
def test_xlogdata_gives_its_payload(start: int, end: int, clock: int, payload: bytes) -> None:
    frame = pack(">cQQq", b"w", start, end, clock) + payload

    for each in (frame, memoryview(frame)):
        assert frames.kind(each) == frames.XLOG_DATA
        assert frames.changes([each]) == [payload]
        assert frames.position(each) == start


@pytest.mark.parametrize("reply", [False, True])
@given(end=_U64)
def test_a_keepalive_gives_its_end_and_whether_it_wants_an_answer(reply: bool, end: int) -> None:  # noqa: FBT001
    frame = pack(">cQq?", b"k", end, 0, reply)
    assert frames.kind(frame) != frames.XLOG_DATA
    assert frames.keepalive(frame) == Keepalive(Lsn(end), reply)


def test_an_unknown_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="'x'"):
        frames.keepalive(b"x123")


def test_a_standby_status_reports_flushed_as_flushed_and_applied_and_counts_time_from_2000() -> None:
    frame = standby_status(received=7, flushed=5, now=946_684_800 + 1.5, ping=True)

    assert unpack(">cQQQq?", frame) == (b"r", 7, 5, 5, 1_500_000, True)
