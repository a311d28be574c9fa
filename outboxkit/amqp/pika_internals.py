"""Every private name of pika that this project uses. pika has no public way to do these four things.

tests/unit/outboxkit/amqp/test_pika_internals.py compares the names and signatures with the installed pika, and
pyproject.toml bounds its version.
"""

import socket
from collections.abc import Callable
from errno import EAGAIN
from ssl import SSLSocket, SSLWantWriteError
from struct import pack
from typing import Any

from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import StreamLostError

_RESET = pack("ii", 1, 0)
_READ_BYTES = 65_536


def guard_sends(connection: AsyncioConnection, forbidden: Callable[[], bool]) -> None:
    """Ask `forbidden` before every send(2) of `connection`; while it is true, the socket seems to have no room.

    All of pika's transports send in `_sigint_safe_send`. What the socket did not take waits in the transport's buffer
    for any length of time, so a check before `send_now` would not be enough.
    """
    transport = _transport(connection)
    send = transport._sigint_safe_send  # noqa: SLF001 - see above

    def guarded(socket: object, data: bytes) -> int:
        if forbidden():
            raise (
                SSLWantWriteError
                if isinstance(socket, SSLSocket)
                else BlockingIOError(EAGAIN, "nothing may be sent now")
            )
        sent: int = send(socket, data)
        return sent

    transport._sigint_safe_send = guarded  # noqa: SLF001 - see above


def send_now(connection: AsyncioConnection, frames: bytes) -> None:
    """Send encoded `frames` as one piece, after everything that pika has written before.

    `_adapter_emit_data` is where pika writes its own frames. It only fills the buffer; the loop would send in its next
    turn, `_on_socket_writable` sends at once.
    """
    emitting: Any = connection
    emitting._adapter_emit_data(frames)  # noqa: SLF001 - see above
    _transport(connection)._on_socket_writable()  # noqa: SLF001 - see above


def divert(connection: AsyncioConnection, take: Callable[[bytes], tuple[bytes, int]]) -> None:
    """Give what is read from now on to `take`; it returns the frames that are left to pika, and how many bytes it took.

    pika counts the bytes that it reads, and takes a connection without new ones for dead. It reads from the socket in
    pieces of 4 KiB, some ten messages; larger ones save system calls.
    """
    reading: Any = connection
    pass_on = reading._on_data_available  # noqa: SLF001 - see above
    begun, reading._frame_buffer = reading._frame_buffer, b""  # noqa: SLF001 - see above

    def diverted(read: bytes) -> None:
        left, taken = take(read)
        reading.bytes_received += taken
        if left:
            pass_on(left)

    reading._on_data_available = diverted  # noqa: SLF001 - see above
    _transport(connection)._MAX_RECV_BYTES = _READ_BYTES  # noqa: SLF001 - see above
    if begun:
        diverted(begun)


def lose(connection: AsyncioConnection, reason: str) -> None:
    """End `connection` at once and drop what waits to be sent, in the kernel too; `close` would send it first.

    Without lingering, the end of the socket is a reset (socket(7), SO_LINGER).
    """
    ending: Any = connection
    transport = _transport(connection)
    if transport is not None:
        transport._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)  # noqa: SLF001 - see above
    ending._terminate_stream(StreamLostError(reason))  # noqa: SLF001 - see above


def _transport(connection: Any) -> Any:  # noqa: ANN401 - pika's stubs have no private names
    return connection._transport  # noqa: SLF001 - see above
