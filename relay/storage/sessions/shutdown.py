"""Whether Postgres shuts down: the one rule for letting the stream go.

A shutdown ends ordinary sessions with 57P01, and from then on refuses new ones with 57P03; walsenders stay, and are
waited for (https://www.postgresql.org/docs/current/server-shutdown.html). pg_terminate_backend() ends a session with
57P01 too, but then a new session is possible. So when a session of the relay ends with 57P01, one question is asked:
Postgres shuts down unless it would take a new session now. A refusal with 57P03, a refused connection or no answer mean
that it would not; any other answer, such as a request for a password, means that it would.

libpq does not tell the SQLSTATE of a connection that was refused, so the question is asked without it. It is answered
before authentication and before TLS: nothing secret is sent.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg

ENDED = "57P01"
"""The SQLSTATE of a session that is ended by a shutdown, or by pg_terminate_backend()."""
_REFUSED = "57P03"
_SECONDS = 2.0
_PROTOCOL_3 = 3 << 16
# https://www.postgresql.org/docs/current/protocol-message-formats.html
_HEADER = struct.Struct(">cI")
_ERROR = b"E"
_CODE = b"C"


class Address(NamedTuple):
    """Where a server listens; a host that begins with a slash is the directory of its Unix sockets."""

    host: str
    port: int

    @classmethod
    def of(cls, connection: psycopg.AsyncConnection[Any]) -> "Address":
        """Return the address of the server of an open connection."""
        info = connection.info
        return cls(info.hostaddr or info.host, info.port)


class ShutdownWatch:
    """Calls `announce` when a session has ended because Postgres shuts down."""

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce
        self._asking: set[asyncio.Task[None]] = set()

    def ended(self, address: Address) -> None:
        """Take note that a session with the server at `address` has ended with 57P01."""
        asking = asyncio.create_task(self._ask(address))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    async def _ask(self, address: Address) -> None:
        if not await takes_sessions(address):
            self._announce()


async def takes_sessions(address: Address, *, seconds: float = _SECONDS) -> bool:
    """Return whether the server at `address` would take a new session now."""
    try:
        async with asyncio.timeout(seconds):
            return await _refusal(address) != _REFUSED
    except (OSError, EOFError):  # of which TimeoutError is one
        return False


async def _refusal(address: Address) -> str | None:
    """Return the SQLSTATE with which the server refuses a session; None if it goes on to authentication."""
    if address.host.startswith("/"):
        reader, writer = await asyncio.open_unix_connection(f"{address.host}/.s.PGSQL.{address.port}")
    else:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(_startup())
        kind, length = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        if kind != _ERROR:
            return None
        return _code(await reader.readexactly(length - 4))
    finally:
        writer.close()


def _startup() -> bytes:
    """Return a startup message; its user needs no account, since nobody logs in."""
    parameters = b"user\0relay\0database\0postgres\0\0"
    return struct.pack(">II", 8 + len(parameters), _PROTOCOL_3) + parameters


def _code(fields: bytes) -> str | None:
    """Return the SQLSTATE among the fields of an ErrorResponse."""
    return next((field[1:].decode("ascii") for field in fields.split(b"\0") if field[:1] == _CODE), None)
