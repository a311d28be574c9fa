"""What an AMQP 0-9-1 connection publishes and confirms, read from the bytes of both directions. Pure.

https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, sections 2.3 and 4.2, and https://www.rabbitmq.com/docs/confirms.
"""

from struct import Struct
from typing import NamedTuple

from tests.support.wire.incremental import Incremental, Parser

_PROTOCOL_HEADER_BYTES = 8
_FRAME = Struct(">BHI")
_FRAME_END = b"\xce"
_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_ID = Struct(">HH")
_ANSWER = Struct(">QB")
_MULTIPLE = 1
_CHANNEL_OPEN = (20, 10)
_CONFIRM_SELECT = (85, 10)
_PUBLISH, _RETURN, _ACK, _NACK = (60, 40), (60, 50), (60, 80), (60, 120)

# A content header: class, weight and body size, then flags that say which properties follow, in this order.
_FLAGS = Struct(">12xH")
_BEFORE_MESSAGE_ID = {
    15: "short", 14: "short", 13: "table", 12: "octet", 11: "octet", 10: "short", 9: "short", 8: "short",
}  # fmt: skip
_MESSAGE_ID_FLAG = 7


class Opened(NamedTuple):
    """The client opened a channel; an earlier channel of this number is closed."""

    channel: int


class Selected(NamedTuple):
    """The client asked for confirms; its publishes count from 1 from now on."""

    channel: int


class Published(NamedTuple):
    """The client published a message."""

    channel: int
    message: str


class Returned(NamedTuple):
    """The server returned a message that no queue took."""

    channel: int
    message: str


class Answered(NamedTuple):
    """The server confirmed or nacked the publish number `tag`, or all up to it."""

    channel: int
    tag: int
    multiple: bool
    nack: bool


Fact = Opened | Selected | Published | Returned | Answered


class Session:
    """One connection."""

    def __init__(self) -> None:
        self._facts: list[Fact] = []
        self._client = Incremental(self._from_client())
        self._server = Incremental(self._frames(to_server=False))

    def feed(self, data: bytes, *, to_server: bool) -> list[Fact]:
        """Return the facts that `data` completes; raises ValueError if it is not AMQP, or is encrypted."""
        (self._client if to_server else self._server).feed(data)
        facts, self._facts = self._facts, []
        return facts

    def _from_client(self) -> Parser:
        header = yield _PROTOCOL_HEADER_BYTES
        if header != b"AMQP\0\0\x09\x01":
            raise ValueError(f"AMQP 0-9-1 does not begin with {header!r}")
        yield from self._frames(to_server=True)

    def _frames(self, *, to_server: bool) -> Parser:
        carrying: dict[int, type[Published | Returned]] = {}
        while True:
            kind, channel, size = _FRAME.unpack((yield _FRAME.size))
            payload = yield size
            if (yield 1) != _FRAME_END or kind not in {_METHOD, _HEADER, _BODY, _HEARTBEAT}:
                raise ValueError(f"no frame of AMQP: kind {kind}, channel {channel}, {size} bytes")
            if kind == _METHOD:
                carrying.pop(channel, None)
                method = _ID.unpack_from(payload)
                if method == (_PUBLISH if to_server else _RETURN):
                    carrying[channel] = Published if to_server else Returned
                else:
                    self._method(channel, method, payload[_ID.size :], to_server=to_server)
            elif kind == _HEADER and channel in carrying:
                self._facts.append(carrying.pop(channel)(channel, _message_id(payload)))

    def _method(self, channel: int, method: tuple[int, int], arguments: bytes, *, to_server: bool) -> None:
        if to_server and method == _CHANNEL_OPEN:
            self._facts.append(Opened(channel))
        elif to_server and method == _CONFIRM_SELECT:
            self._facts.append(Selected(channel))
        elif not to_server and method in {_ACK, _NACK}:
            tag, bits = _ANSWER.unpack(arguments)
            self._facts.append(Answered(channel, tag, bool(bits & _MULTIPLE), method == _NACK))


def _message_id(header: bytes) -> str:
    """Return the message id of a content header, or an empty text if it has none."""
    (flags,) = _FLAGS.unpack_from(header)
    if not flags >> _MESSAGE_ID_FLAG & 1:
        return ""
    at = _FLAGS.size
    for flag, kind in _BEFORE_MESSAGE_ID.items():
        if flags >> flag & 1:
            at += {"short": 1 + header[at], "table": 4 + int.from_bytes(header[at : at + 4]), "octet": 1}[kind]
    return header[at + 1 : at + 1 + header[at]].decode()
