"""The bytes of Basic.Deliver, decoded by hand: method, content header and body frames. Pure.

pika makes an object for every frame and every method, at some 50 µs for each delivery. Here frames of one channel's
deliveries are taken out of the stream, and all other frames are left to pika. The layout is that of AMQP 0-9-1
(https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, sections 2.3 and 4.2), with RabbitMQ's field types
(https://www.rabbitmq.com/amqp-0-9-1-errata#section_3).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from struct import Struct
from struct import error as StructError  # noqa: N812 - an exception whose own name is `error`
from typing import Any, Final, TypeAlias

from pika.data import decode_table
from pika.exceptions import AMQPError

_METHOD, _HEADER, _BODY = 1, 2, 3
_END: Final = 0xCE
# A frame is type, channel, payload size, payload and the end octet.
_FRAME = Struct(">BHI")
_HEAD = _FRAME.size
_OVERHEAD = _HEAD + 1
_DELIVER = b"\x00\x3c\x00\x3c"  # class 60, method 60
_TAG = Struct(">Q?")
# Class, weight, body size, and the list of properties.
_CONTENT = Struct(">HHQH")
_LENGTH = Struct(">I")
_TIME = Struct(">Q")
_LONG_STRING, _SIGNED_32, _SIGNED_64 = b"SIl"
_INT32 = Struct(">i")
_INT64 = Struct(">q")
_ACK = Struct(">BHIHHQBB")
_ACK_SIZE = 13
_BASIC, _ACK_METHOD = 60, 80

# Bits of the property list, from the highest.
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DELIVERY_MODE, _PRIORITY = 1 << 15, 1 << 14, 1 << 13, 1 << 12, 1 << 11
_CORRELATION_ID, _REPLY_TO, _EXPIRATION, _MESSAGE_ID, _MORE = 1 << 10, 1 << 9, 1 << 8, 1 << 7, 1
_TIMESTAMP, _TYPE = 1 << 6, 1 << 5

_Content: TypeAlias = tuple[str | None, Mapping[str, object] | None, int | None, str | None]
"""Message id, headers, timestamp and type."""


@dataclass(slots=True)  # not frozen: that takes twice as long to make
class Delivery:
    """One delivered message; `tag` is valid only on the channel of `generation`."""

    tag: int
    message_id: str | None
    headers: Mapping[str, object] | None = field(repr=False)
    """None if there are none, or if they cannot be decoded."""
    body: bytes = field(repr=False)
    redelivered: bool
    routing_key: str
    generation: int
    type: str | None = None
    timestamp: int | None = None
    """Seconds since 1970."""


class DeliveryFrames:
    """Takes the deliveries of one channel, which is `generation`, out of what is read from its connection's socket."""

    def __init__(self, channel: int, *, generation: int) -> None:
        self._channel = channel
        self._generation = generation
        self._left = b""
        """The beginning of a frame whose end has not arrived."""
        self._method: tuple[int, bool, str] | None = None
        self._content: _Content = (None, None, None, None)
        self._missing = 0
        """How many bytes of the body have not arrived."""
        self._pieces: list[bytes] = []

    def take(self, read: bytes) -> tuple[list[Delivery], bytes, int]:
        """Return the deliveries that `read` completes, the whole frames of anything else, and how many bytes it took.

        The bytes taken are those of deliveries. Bytes that are no frame are returned like frames of others: pika
        reports them.
        """
        buffer = self._left + read if self._left else read
        found: list[Delivery] = []
        others: list[bytes] = []
        at, size, taken = 0, len(buffer), 0
        while size - at >= _OVERHEAD:
            kind, channel, length = _FRAME.unpack_from(buffer, at)
            end = at + _OVERHEAD + length
            if end > size:
                break
            if buffer[end - 1] != _END:
                others.append(buffer[at:])
                at = size
                break
            if channel == self._channel and self._part(kind, buffer, at + _HEAD, end - 1):
                taken += end - at
                if self._method is not None and kind != _METHOD and not self._missing:
                    found.append(self._complete())
            else:
                others.append(buffer[at:end])
            at = end
        self._left = buffer[at:]
        return found, b"".join(others), taken

    def _part(self, kind: int, buffer: bytes, at: int, end: int) -> bool:
        """Take the payload of a frame of the channel, from `at` to `end`; return False if it is of no delivery."""
        if kind == _METHOD:
            if buffer[at : at + 4] != _DELIVER:
                return False
            self._method = _method(buffer, at + 4)
        elif self._method is None:
            return False
        elif kind == _HEADER:
            *_, self._missing, properties = _CONTENT.unpack_from(buffer, at)
            self._content = _properties(buffer[at + _CONTENT.size : end], properties)
        elif kind == _BODY:
            self._pieces.append(buffer[at:end])
            self._missing -= end - at
        else:
            return False
        return True

    def _complete(self) -> Delivery:
        assert self._method is not None  # noqa: S101 - its caller has looked
        tag, redelivered, routing_key = self._method
        message_id, headers, timestamp, type_ = self._content
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._method, self._pieces = None, []
        return Delivery(tag, message_id, headers, body, redelivered, routing_key, self._generation, type_, timestamp)


def acknowledgements(channel: int, tags: Iterable[int]) -> bytes:
    """Return the frames that acknowledge deliveries of a channel, each by itself."""
    pack = _ACK.pack
    return b"".join([pack(_METHOD, channel, _ACK_SIZE, _BASIC, _ACK_METHOD, tag, 0, _END) for tag in tags])


def _method(buffer: bytes, at: int) -> tuple[int, bool, str]:
    at += 1 + buffer[at]  # the consumer tag
    tag, redelivered = _TAG.unpack_from(buffer, at)
    at += _TAG.size
    at += 1 + buffer[at]  # the exchange
    return tag, redelivered, buffer[at + 1 : at + 1 + buffer[at]].decode("utf-8", "replace")


def _properties(encoded: bytes, listed: int) -> _Content:
    """Return the message id, headers, timestamp and type; what follows the type is not read."""
    if listed & _MORE:
        return None, None, None, None  # a second list of properties, which no broker sends
    at = 0
    for each in (_CONTENT_TYPE, _CONTENT_ENCODING):
        if listed & each:
            at += 1 + encoded[at]
    headers: Mapping[str, object] | None = None
    if listed & _HEADERS:
        (length,) = _LENGTH.unpack_from(encoded, at)
        headers = _headers(encoded, at, at + _LENGTH.size + length)
        at += _LENGTH.size + length
    at += bool(listed & _DELIVERY_MODE) + bool(listed & _PRIORITY)
    for each in (_CORRELATION_ID, _REPLY_TO, _EXPIRATION):
        if listed & each:
            at += 1 + encoded[at]
    message_id, timestamp, type_ = None, None, None
    if listed & _MESSAGE_ID:
        message_id = encoded[at + 1 : at + 1 + encoded[at]].decode("utf-8", "replace")
        at += 1 + encoded[at]
    if listed & _TIMESTAMP:
        (timestamp,) = _TIME.unpack_from(encoded, at)
        at += _TIME.size
    if listed & _TYPE:
        type_ = encoded[at + 1 : at + 1 + encoded[at]].decode("utf-8", "replace")
    return message_id, headers, timestamp, type_


def _headers(encoded: bytes, start: int, end: int) -> Mapping[str, object] | None:
    """Decode a table; pika decodes one with a field that a relay's message seldom has."""
    found: dict[str, object] = {}
    at = start + _LENGTH.size
    try:
        while at < end:
            name = encoded[at + 1 : at + 1 + encoded[at]].decode()
            at += 1 + encoded[at]
            kind = encoded[at]
            if kind == _LONG_STRING:
                (length,) = _LENGTH.unpack_from(encoded, at + 1)
                at += 5 + length
                found[name] = encoded[at - length : at].decode()
            elif kind == _SIGNED_32:
                (found[name],) = _INT32.unpack_from(encoded, at + 1)
                at += 5
            elif kind == _SIGNED_64:
                (found[name],) = _INT64.unpack_from(encoded, at + 1)
                at += 9
            else:
                return _by_pika(encoded, start)
    except (UnicodeDecodeError, IndexError, StructError):
        return _by_pika(encoded, start)
    return found


def _by_pika(encoded: bytes, start: int) -> Mapping[str, object] | None:
    table: Mapping[Any, object]
    try:
        table, _ = decode_table(encoded, start)
    except (AMQPError, ValueError, OverflowError, OSError, IndexError, StructError, RecursionError):
        return None  # a message that cannot be read must not end the connection that would deliver it again
    return {str(name): value for name, value in table.items()}
