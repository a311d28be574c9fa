"""Codec of the messages inside a replication stream's CopyData. Pure.

https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-START-REPLICATION
Integers are big-endian; times are microseconds since 2000-01-01 UTC.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from struct import Struct
from typing import NamedTuple

from relay.core.position import Lsn

XLOG_DATA, _KEEPALIVE = b"wk"
_XLOG_DATA_HEADER = Struct(">cQQq")
_KEEPALIVE_FIELDS = Struct(">cQq?")
_STANDBY_STATUS = Struct(">cQQQq?")
kind: Callable[[bytes | memoryview], int] = itemgetter(0)
"""The first byte of a frame; XLOG_DATA for one that carries a change."""
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC).timestamp()


class Keepalive(NamedTuple):
    """The server is alive, has sent everything up to `end`, and may want an answer at once."""

    end: Lsn
    reply_requested: bool


def changes(frames: Sequence[bytes | memoryview]) -> Sequence[bytes | memoryview]:
    """Return what the output plugin wrote, out of each XLogData."""
    return [frame[_XLOG_DATA_HEADER.size :] for frame in frames]


def keepalive(frame: bytes | memoryview) -> Keepalive:
    """Read a primary keepalive message; raises ValueError for a kind that the protocol does not have here."""
    if frame[0] != _KEEPALIVE:
        raise ValueError(f"the replication stream has no message of kind {chr(frame[0])!r}")
    _, end, _, reply = _KEEPALIVE_FIELDS.unpack(frame)
    return Keepalive(Lsn(end), reply)


def position(frame: bytes | memoryview) -> Lsn:
    """Return where in the WAL the change of an XLogData stands."""
    _, start, _, _ = _XLOG_DATA_HEADER.unpack_from(frame)
    return Lsn(start)


def standby_status(*, received: int, flushed: int, now: float, ping: bool) -> bytes:
    """Write a standby status update: `received` is written, `flushed` is flushed and applied.

    `now` is seconds since 1970; `ping` asks the server to answer at once. Only `flushed` moves the slot.
    """
    clock = int((now - _EPOCH) * 1_000_000)
    return _STANDBY_STATUS.pack(b"r", received, flushed, flushed, clock, ping)
