"""The bytes of Basic.Publish: method, content header and body frames, encoded by hand. Pure.

pika makes objects for every frame and one write for each; a batch encoded here is one write. The layout is AMQP
0-9-1's (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, sections 2.3 and 4.2), the field types are RabbitMQ's
(https://www.rabbitmq.com/amqp-0-9-1-errata#section_3): JSON's strings, booleans, numbers, nulls, arrays and objects
all have one, but integers end at 64 bits and names at 255 bytes.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from messaging.format import CONTENT_TYPE, PERSISTENT
from relay.errors import UnpublishableEvent
from relay.event import Message

_SHORT_STRING = 255
_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)

_METHOD, _HEADER, _BODY, _END = 1, 2, 3, b"\xce"
_BASIC, _PUBLISH = 60, 40
_MANDATORY = b"\x01"
# Frame type, channel and payload size; with the end octet, a frame's overhead is eight bytes.
_FRAME = Struct(">BHI")
FRAME_OVERHEAD = _FRAME.size + len(_END)
_PUBLISH_START = Struct(">HHH")
_CONTENT_START = Struct(">HHQH")
_LENGTH = Struct(">I")
_FIELD_LENGTH = Struct(">cI")
_FIELD_INT32 = Struct(">ci")
_FIELD_INT64 = Struct(">cq")
_FIELD_DOUBLE = Struct(">cd")
_TIMESTAMP = Struct(">Q")
# Bits of the property list, first property in the highest: content type, headers, delivery mode, message id,
# timestamp, type, app id.
_PROPERTIES = 1 << 15 | 1 << 13 | 1 << 12 | 1 << 7 | 1 << 6 | 1 << 5 | 1 << 3


class Content(NamedTuple):
    """A message encoded as far as it does not depend on a channel."""

    method: bytes
    header: bytes
    body: bytes


def encode(message: Message, *, app_id: str) -> Content:
    """Encode `message`: mandatory, persistent, and under the event's own id.

    Raises UnpublishableEvent, naming what and why, for a message that AMQP cannot carry.
    """
    try:
        _check_copies(message.headers)
        header = b"".join((
            _CONTENT_START.pack(_BASIC, 0, len(message.body), _PROPERTIES),
            _short(CONTENT_TYPE, "content type"),
            _table(message.headers),
            bytes((PERSISTENT,)),
            _short_uncached(message.id, "id"),
            _TIMESTAMP.pack(max(0, message.timestamp)),  # AMQP knows no time before 1970
            _short(message.type, "type"),
            _short(app_id, "app id"),
        ))  # fmt: skip
        return Content(_publish(message.exchange, message.routing_key), header, message.body)
    except (ValueError, RecursionError) as error:
        raise UnpublishableEvent(
            f"event {message.id} cannot be published: {error}", remedy="write such events within AMQP's limits"
        ) from error


def frames(content: Content, *, channel: int, frame_max: int) -> Iterator[bytes]:
    """Yield the frames of `content` on `channel`, none longer than `frame_max` bytes, overhead included."""
    yield _frame(_METHOD, channel, content.method)
    yield _frame(_HEADER, channel, content.header)
    body, most = content.body, frame_max - FRAME_OVERHEAD
    if len(body) <= most:
        if body:
            yield _frame(_BODY, channel, body)
        return
    for start in range(0, len(body), most):
        yield _frame(_BODY, channel, body[start : start + most])


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"%b%b\xce" % (_FRAME.pack(kind, channel, len(payload)), payload)


@lru_cache(maxsize=4096)
def _publish(exchange: str, routing_key: str) -> bytes:
    names = _short_uncached(exchange, "exchange") + _short_uncached(routing_key, "routing key")
    return _PUBLISH_START.pack(_BASIC, _PUBLISH, 0) + names + _MANDATORY


def _short_uncached(text: str, what: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > _SHORT_STRING:
        raise ValueError(f"its {what} is longer than {_SHORT_STRING} bytes")
    return bytes((len(encoded),)) + encoded


_short = lru_cache(maxsize=4096)(_short_uncached)


def _table(fields: Mapping[str, object]) -> bytes:
    encoded = b"".join([_short(name, "header's name") + _value(name, value) for name, value in fields.items()])
    return _LENGTH.pack(len(encoded)) + encoded


def _check_copies(headers: Mapping[str, object]) -> None:
    """Refuse what RabbitMQ would close the channel for (https://www.rabbitmq.com/docs/sender-selected)."""
    for name in ("CC", "BCC"):
        keys = headers.get(name, [])
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise ValueError(f"header {name!r} is no list of routing keys")


def _value(name: str, value: object) -> bytes:  # noqa: PLR0911 - one return for each of JSON's types
    match value:
        case str():
            encoded = value.encode()
            return _FIELD_LENGTH.pack(b"S", len(encoded)) + encoded
        case bool():
            return b"t\x01" if value else b"t\x00"
        case int() if value in _INT32:
            return _FIELD_INT32.pack(b"I", value)
        case int() if value in _INT64:
            return _FIELD_INT64.pack(b"l", value)
        case int():
            raise ValueError(f"header {name!r} is an integer beyond 64 bits")
        case float():
            return _FIELD_DOUBLE.pack(b"d", value)
        case None:
            return b"V"
        case list():
            items = b"".join([_value(name, item) for item in value])
            return _FIELD_LENGTH.pack(b"A", len(items)) + items
        case dict():
            return b"F" + _table(value)
        case _:
            raise ValueError(f"header {name!r} is no value that JSON has")
