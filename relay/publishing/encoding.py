"""The bytes of Basic.Publish: method, content header and body frames, encoded by hand. Pure.

pika makes objects for every frame and one write for each; a batch encoded here is one write. The layout is AMQP
0-9-1's (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, sections 2.3 and 4.2), the field types are RabbitMQ's
(https://www.rabbitmq.com/amqp-0-9-1-errata#section_3): JSON's strings, booleans, numbers, nulls, arrays and objects
all have one, but integers end at 64 bits and names at 255 bytes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

from messaging.format import PERSISTENT
from relay.errors import MessageTooLarge, UnpublishableEvent
from relay.event import Message

_SHORT_STRING = 255
_CACHED = 4096

_METHOD, _HEADER, _BODY, _END = 1, 2, 3, b"\xce"
_BASIC, _PUBLISH = 60, 40
_MANDATORY = b"\x01"
# A frame is type, channel, payload size, payload and the end octet.
_FRAME = Struct(">BHI")
FRAME_OVERHEAD = _FRAME.size + len(_END)
_PUBLISH_START = Struct(">HHH")
# A content header's frame up to the properties: class, weight, body size and which properties there are.
_HEADER_START = Struct(">BHIHHQH")
_BODY_START = Struct(">cBHI")
_HEADER_BYTES = _HEADER_START.size - _FRAME.size
_PERSISTENT = bytes((PERSISTENT,))
_LENGTHS = [bytes((length,)) for length in range(_SHORT_STRING + 1)]
_LENGTH = Struct(">I")
_FIELD_LENGTH = Struct(">cI")
_FIELD_INT32 = Struct(">ci")
_FIELD_INT64 = Struct(">cq")
_FIELD_DOUBLE = Struct(">cd")
_TIMESTAMP = Struct(">Q")
# Bits of the property list, first property in the highest: content type, headers, delivery mode, message id,
# timestamp, type, app id.
_PROPERTIES = 1 << 15 | 1 << 13 | 1 << 12 | 1 << 7 | 1 << 6 | 1 << 5 | 1 << 3


class Encoder:
    """Encodes messages for one channel: mandatory, persistent, and under the event's own id.

    No frame is longer than `frame_max` bytes, overhead included, and no message, with its headers, than `max_bytes`.
    """

    def __init__(self, *, app_id: str, channel: int, frame_max: int, max_bytes: int) -> None:
        self.channel = channel
        self.frame_max = frame_max
        self._max_bytes = max_bytes
        self._most = frame_max - FRAME_OVERHEAD
        self._app_id = _short(app_id, "app id")
        self._method = lru_cache(maxsize=_CACHED)(self._publish)

    def encode(self, message: Message) -> bytes:
        """Return the frames of `message`, in one piece.

        Raises UnpublishableEvent, naming what and why, for a message that AMQP cannot carry, and MessageTooLarge.
        """
        headers, body = message.headers, message.body
        try:
            if "CC" in headers or "BCC" in headers:
                _check_copies(headers)
            method = self._method(message.exchange, message.routing_key)
            properties = b"".join((
                _short(message.content_type, "content type"),
                _table(headers),
                _PERSISTENT,
                _short_uncached(message.id, "id"),
                _TIMESTAMP.pack(max(0, message.timestamp)),  # AMQP knows no time before 1970
                _short(message.type, "type"),
                self._app_id,
            ))  # fmt: skip
        except (ValueError, RecursionError) as error:
            raise UnpublishableEvent(
                f"event {message.id} cannot be published: {error}", remedy="write such events within AMQP's limits"
            ) from error
        header_bytes = _HEADER_BYTES + len(properties)
        if header_bytes + len(body) > self._max_bytes:
            raise MessageTooLarge(
                f"the message has {header_bytes + len(body)} bytes with its headers, "
                f"and RELAY_MAX_MESSAGE_BYTES is {self._max_bytes}",
                remedy="raise RELAY_MAX_MESSAGE_BYTES as far as the broker's max_message_size, then redrive it",
            )
        start = _HEADER_START.pack(_HEADER, self.channel, header_bytes, _BASIC, 0, len(body), _PROPERTIES)
        if 0 < len(body) <= self._most:
            return b"".join((
                method, start, properties, _BODY_START.pack(_END, _BODY, self.channel, len(body)), body, _END,
            ))  # fmt: skip
        return b"".join((method, start, properties, _END, *self._bodies(body)))

    def _bodies(self, body: bytes) -> Iterator[bytes]:
        for at in range(0, len(body), self._most):
            yield _frame(_BODY, self.channel, body[at : at + self._most])

    def _publish(self, exchange: str, routing_key: str) -> bytes:
        names = _short_uncached(exchange, "exchange") + _short_uncached(routing_key, "routing key")
        return _frame(_METHOD, self.channel, _PUBLISH_START.pack(_BASIC, _PUBLISH, 0) + names + _MANDATORY)


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"%b%b\xce" % (_FRAME.pack(kind, channel, len(payload)), payload)


def _short_uncached(text: str, what: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > _SHORT_STRING:
        raise ValueError(f"its {what} is longer than {_SHORT_STRING} bytes")
    return _LENGTHS[len(encoded)] + encoded


_short = lru_cache(maxsize=_CACHED)(_short_uncached)


def _table(fields: Mapping[str, object]) -> bytes:
    pieces: list[bytes] = []
    for name, value in fields.items():
        pieces.append(_short(name, "header's name"))
        # Nearly all are one of these, and a call for each would cost more than its encoding.
        if type(value) is str:
            encoded = value.encode()
            pieces += (_FIELD_LENGTH.pack(b"S", len(encoded)), encoded)
        elif type(value) is int and -(2**31) <= value < 2**31:
            pieces.append(_FIELD_INT32.pack(b"I", value))
        else:
            pieces.append(_FIELDS.get(type(value), _strange)(name, value))
    table = b"".join(pieces)
    return _LENGTH.pack(len(table)) + table


def _check_copies(headers: Mapping[str, object]) -> None:
    """Refuse what RabbitMQ would close the channel for (https://www.rabbitmq.com/docs/sender-selected)."""
    for name in ("CC", "BCC"):
        keys = headers.get(name, [])
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise ValueError(f"header {name!r} is no list of routing keys")


def _string(_: str, value: str) -> bytes:
    encoded = value.encode()
    return _FIELD_LENGTH.pack(b"S", len(encoded)) + encoded


def _integer(name: str, value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return _FIELD_INT32.pack(b"I", value)
    if -(2**63) <= value < 2**63:
        return _FIELD_INT64.pack(b"l", value)
    raise ValueError(f"header {name!r} is an integer beyond 64 bits")


def _array(name: str, value: Sequence[object]) -> bytes:
    items = b"".join([_FIELDS.get(type(item), _strange)(name, item) for item in value])
    return _FIELD_LENGTH.pack(b"A", len(items)) + items


def _strange(name: str, _: object) -> bytes:
    raise ValueError(f"header {name!r} is no value that JSON has")


_FIELDS: Mapping[type, Callable[[str, Any], bytes]] = {
    str: _string,
    bool: lambda _, value: b"t\x01" if value else b"t\x00",
    int: _integer,
    float: lambda _, value: _FIELD_DOUBLE.pack(b"d", value),
    type(None): lambda _, __: b"V",
    list: _array,
    dict: lambda _, value: b"F" + _table(value),
}
