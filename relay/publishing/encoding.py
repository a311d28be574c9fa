"""The bytes of Basic.Publish: method, content header and body frames, encoded by hand. Pure.

pika makes objects for every frame and one write for each; a batch encoded here is one write. The layout is AMQP
0-9-1's (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, sections 2.3 and 4.2), the field types are RabbitMQ's
(https://www.rabbitmq.com/amqp-0-9-1-errata#section_3): JSON's strings, booleans, numbers, nulls, arrays and objects
all have one, but integers end at 64 bits and names at 255 bytes.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is an exception, and its own name says nothing
from typing import Any, NamedTuple

from outboxkit.amqp import format as names
from outboxkit.amqp.format import PERSISTENT
from relay.core.errors import MessageTooLarge, UnpublishableEvent
from relay.core.event import Message, Route

FRAME_MAX = 131_072
"""RabbitMQ's default limit of a frame in bytes, overhead included."""
_SHORT_STRING = 255
_CACHED = 4096

_METHOD, _HEADER, _BODY, _END = 1, 2, 3, b"\xce"
_BASIC, _PUBLISH = 60, 40
_MANDATORY = b"\x01"
# A frame is type, channel, payload size, payload and the end octet.
_FRAME = Struct(">BHI")
FRAME_OVERHEAD = _FRAME.size + len(_END)
_PUBLISH_START = Struct(">HHH")
# What is before the properties in a content header's payload: class, weight, body size and which properties there are.
_HEADER_BYTES = 14
_LENGTH = Struct(">I")
_FIELD_LENGTH = Struct(">cI")
_FIELD_INT32 = Struct(">ci")
_FIELD_INT64 = Struct(">cq")
_FIELD_DOUBLE = Struct(">cd")
# Bits of the property list, first property in the highest: content type, headers, delivery mode, message id,
# timestamp, type, app id.
_PROPERTIES = 1 << 15 | 1 << 13 | 1 << 12 | 1 << 7 | 1 << 6 | 1 << 5 | 1 << 3
# The delivery mode, and how long the message id is that follows.
_ID_LENGTHS = [bytes((PERSISTENT, length)) for length in range(_SHORT_STRING + 1)]
_VERSION, _SEQ = (bytes((len(name),)) + name.encode() for name in (names.AGGREGATE_VERSION, names.SEQ))
_VERSION_INT32, _SEQ_INT32 = _VERSION + b"I", _SEQ + b"I"
_NUMBERS = Struct(f">{len(_VERSION_INT32)}si{len(_SEQ_INT32)}si")
_INT32 = range(-(2**31), 2**31)


class _Kind(NamedTuple):
    """What the messages of one route have in common, encoded."""

    method: bytes
    """The whole frame."""
    head: Callable[..., bytes]
    """Packs what comes before the aggregate's id: the header frame's start, content type, the table's start."""
    content_type: bytes
    first_fields: bytes
    tail: Callable[..., bytes]
    """Packs what comes behind the message id: timestamp, type, app id, the frame's end, a body frame's start."""
    type_and_app: bytes
    fixed: int
    """How many bytes of the properties are always there."""


class Encoder:
    """Encodes messages for one channel: mandatory, persistent, and under the event's own id.

    No frame is longer than `frame_max` bytes, overhead included, and no message, with its headers, than `max_bytes`.
    """

    def __init__(self, *, app_id: str, channel: int, frame_max: int, max_bytes: int) -> None:
        self.channel = channel
        self.frame_max = frame_max
        self._max_bytes = max_bytes
        self._most = frame_max - FRAME_OVERHEAD
        self._app_id = app_id
        self._kind = lru_cache(maxsize=_CACHED)(self._of_route)

    def encode(self, message: Message) -> bytes:
        """Return the frames of `message`, in one piece.

        Raises UnpublishableEvent, naming what and why, for a message that AMQP cannot carry, and MessageTooLarge.
        """
        headers, body, channel = message.headers, message.body, self.channel
        try:
            method, head, content_type, first_fields, tail, type_and_app, fixed = self._kind(message.route)
            message_id, aggregate_id = message.id.encode(), message.aggregate_id.encode()
            numbers = _numbers(message.aggregate_version, message.seq)
            more = _row_headers(headers) if headers else b""
            if len(message_id) > _SHORT_STRING:
                raise ValueError(f"its id is longer than {_SHORT_STRING} bytes")  # noqa: TRY301 - told like the others
        except (ValueError, RecursionError) as error:
            raise _unpublishable(message, str(error)) from error
        of_body, of_id, of_aggregate = len(body), len(message_id), len(aggregate_id)
        of_table = len(first_fields) + _LENGTH.size + of_aggregate + len(numbers) + len(more)
        size = fixed + of_table + of_id
        if size > self._most:
            raise _unpublishable(
                message, f"its properties have {size} bytes, and RabbitMQ takes {self._most} in a frame"
            )
        if size + of_body > self._max_bytes:
            raise MessageTooLarge(
                f"the message has {size + of_body} bytes with its headers, "
                f"and RELAY_MAX_MESSAGE_BYTES is {self._max_bytes}",
                remedy="raise RELAY_MAX_MESSAGE_BYTES as far as the broker's max_message_size, then redrive it",
            )
        start = head(
            _HEADER, channel, size, _BASIC, 0, of_body, _PROPERTIES, content_type, of_table, first_fields, of_aggregate
        )
        at = message.timestamp
        end = tail(max(0, at), type_and_app, _END, _BODY, channel, of_body)  # AMQP knows no time before 1970
        if 0 < of_body <= self._most:
            return b"".join((
                method, start, aggregate_id, numbers, more, _ID_LENGTHS[of_id], message_id, end, body, _END,
            ))  # fmt: skip
        return b"".join((
            method, start, aggregate_id, numbers, more, _ID_LENGTHS[of_id], message_id, end[: -_FRAME.size],
            *self._bodies(body),
        ))  # fmt: skip

    def _of_route(self, route: Route) -> _Kind:
        exchange, key = _short(route.exchange, "exchange"), _short(route.routing_key, "routing key")
        publish = _PUBLISH_START.pack(_BASIC, _PUBLISH, 0) + exchange + key + _MANDATORY
        content_type = _short(route.content_type, "content type")
        first_fields = b"".join((
            _short(names.AGGREGATE_TYPE, "header's name"), _string("", route.aggregate_type),
            _short(names.AGGREGATE_ID, "header's name"), b"S",
        ))  # fmt: skip
        type_and_app = _short(route.type, "type") + _short(self._app_id, "app id")
        tail = Struct(f">Q{len(type_and_app)}scBHI")
        return _Kind(
            _frame(_METHOD, self.channel, publish),
            Struct(f">BHIHHQH{len(content_type)}sI{len(first_fields)}sI").pack,
            content_type,
            first_fields,
            tail.pack,
            type_and_app,
            _HEADER_BYTES + len(content_type) + _LENGTH.size + len(_ID_LENGTHS[0]) + tail.size - FRAME_OVERHEAD,
        )

    def _bodies(self, body: bytes) -> Iterator[bytes]:
        for at in range(0, len(body), self._most):
            yield _frame(_BODY, self.channel, body[at : at + self._most])


def _unpublishable(message: Message, why: str) -> UnpublishableEvent:
    return UnpublishableEvent(
        f"event {message.id} cannot be published: {why}", remedy="write such events within AMQP's limits"
    )


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"%b%b\xce" % (_FRAME.pack(kind, channel, len(payload)), payload)


def _short(text: str, what: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > _SHORT_STRING:
        raise ValueError(f"its {what} is longer than {_SHORT_STRING} bytes")
    return bytes((len(encoded),)) + encoded


_header_name = lru_cache(maxsize=_CACHED)(partial(_short, what="header's name"))


def _numbers(version: int, seq: int) -> bytes:
    try:
        return _NUMBERS.pack(_VERSION_INT32, version, _SEQ_INT32, seq)
    except StructError:  # beyond 32 bits
        pass
    return b"".join((_VERSION, _integer(names.AGGREGATE_VERSION, version), _SEQ, _integer(names.SEQ, seq)))


def _row_headers(headers: Mapping[str, object]) -> bytes:
    if "CC" in headers or "BCC" in headers:
        _check_copies(headers)
    return _fields(headers)


def _fields(fields: Mapping[str, object]) -> bytes:
    return b"".join([
        piece
        for name, value in fields.items()
        for piece in (_header_name(name), _FIELDS.get(type(value), _strange)(name, value))
    ])  # fmt: skip


def _table(fields: Mapping[str, object]) -> bytes:
    table = _fields(fields)
    return _LENGTH.pack(len(table)) + table


def _check_copies(headers: Mapping[str, object]) -> None:
    """Refuse what RabbitMQ would close the channel for (https://www.rabbitmq.com/docs/sender-selected)."""
    for name in ("CC", "BCC"):
        keys = headers.get(name, [])
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise ValueError(f"header {name!r} is not a list of routing keys")


def _string(_: str, value: str) -> bytes:
    encoded = value.encode()
    return _FIELD_LENGTH.pack(b"S", len(encoded)) + encoded


def _integer(name: str, value: int) -> bytes:
    if value in _INT32:
        return _FIELD_INT32.pack(b"I", value)
    if -(2**63) <= value < 2**63:
        return _FIELD_INT64.pack(b"l", value)
    raise ValueError(f"header {name!r} is an integer beyond 64 bits")


def _double(name: str, value: float) -> bytes:
    if not math.isfinite(value):  # RabbitMQ closes the connection for it
        raise ValueError(f"header {name!r} is a number that no double holds")
    return _FIELD_DOUBLE.pack(b"d", value)


def _array(name: str, value: Sequence[object]) -> bytes:
    items = b"".join([_FIELDS.get(type(item), _strange)(name, item) for item in value])
    return _FIELD_LENGTH.pack(b"A", len(items)) + items


def _strange(name: str, _: object) -> bytes:
    raise ValueError(f"header {name!r} is no value that JSON has")


_FIELDS: Mapping[type, Callable[[str, Any], bytes]] = {
    str: _string,
    bool: lambda _, value: b"t\x01" if value else b"t\x00",
    int: _integer,
    float: _double,
    type(None): lambda _, __: b"V",
    list: _array,
    dict: lambda _, value: b"F" + _table(value),
}
