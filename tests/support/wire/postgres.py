"""What a replication connection sends and reports as flushed, read from the bytes of both directions. Pure.

https://www.postgresql.org/docs/current/protocol-message-formats.html and protocol-replication.html: only the messages
with the stream's positions and payloads. Other connections yield no facts. LSNs are integers.
"""

import re
from struct import Struct
from typing import NamedTuple

from tests.support.wire.incremental import Incremental, Parser

_REQUEST = Struct(">II")
_MESSAGE = Struct(">cI")
_SIZE = Struct(">I")
_XLOG_DATA = Struct(">cQQq")
_KEEPALIVE = Struct(">cQq?")
_STANDBY_STATUS = Struct(">cQQQq?")
_PROTOCOL_3 = 3 << 16
_SSL, _GSS = 80877103, 80877104
_START = re.compile(rb"START_REPLICATION SLOT \S+ LOGICAL ([0-9A-F]+/[0-9A-F]+)", re.IGNORECASE)


class Started(NamedTuple):
    """The client asked for the stream from `position`."""

    position: int


class Sent(NamedTuple):
    """The server sent what the output plugin wrote for one change, BEGIN or COMMIT."""

    payload: bytes


class KeptAlive(NamedTuple):
    """The server reported that it has sent everything up to `position`."""

    position: int


class Flushed(NamedTuple):
    """The client reported everything below `position` as flushed."""

    position: int


Fact = Started | Sent | KeptAlive | Flushed


def parse_lsn(text: str) -> int:
    """Read an LSN as Postgres writes it."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def format_lsn(position: int) -> str:
    """Write an LSN as Postgres does."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


class Session:
    """One connection."""

    def __init__(self) -> None:
        self._facts: list[Fact] = []
        self._encryption_requests = 0
        self._replicates = False
        self._client = Incremental(self._from_client())
        self._server = Incremental(self._from_server())

    def feed(self, data: bytes, *, to_server: bool) -> list[Fact]:
        """Return the facts that `data` completes; raises ValueError if the connection is encrypted."""
        (self._client if to_server else self._server).feed(data)
        facts, self._facts = self._facts, []
        return facts

    def _from_client(self) -> Parser:
        while True:
            size, code = _REQUEST.unpack((yield _REQUEST.size))
            parameters = yield size - _REQUEST.size
            if code not in {_SSL, _GSS}:
                break
            self._encryption_requests += 1
        self._replicates = code == _PROTOCOL_3 and b"\0replication\0database\0" in b"\0" + parameters
        while self._replicates:
            kind, size = _MESSAGE.unpack((yield _MESSAGE.size))
            body = yield size - 4
            if kind == b"Q" and (start := _START.match(body)):
                self._facts.append(Started(parse_lsn(start[1].decode())))
            elif kind == b"d" and body[:1] == b"r":
                _, _, flushed, _, _, _ = _STANDBY_STATUS.unpack(body)
                self._facts.append(Flushed(flushed))

    def _from_server(self) -> Parser:
        while True:
            kind = yield 1
            if self._encryption_requests:  # a request for encryption is answered with one byte, before anything else
                self._encryption_requests -= 1
                if kind != b"N":
                    raise ValueError("the server encrypts this connection, so it cannot be read")
                continue
            if not self._replicates:
                return
            (size,) = _SIZE.unpack((yield _SIZE.size))
            body = yield size - 4
            if kind == b"d" and body[:1] == b"w":
                self._facts.append(Sent(body[_XLOG_DATA.size :]))
            elif kind == b"d" and body[:1] == b"k":
                _, position, _, _ = _KEEPALIVE.unpack(body)
                self._facts.append(KeptAlive(position))
