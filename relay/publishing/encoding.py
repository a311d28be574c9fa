"""The bytes of Basic.Publish: method, content header and body frames, encoded by hand. Pure.

pika creates objects for every frame, and writes each frame separately; a batch encoded here is one write. The layout is
that of AMQP 0-9-1 (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, sections 2.3 and 4.2), with RabbitMQ's field
types (https://www.rabbitmq.com/amqp-0-9-1-errata#section_3). There is one for every JSON value, except integers of
more than 64 bits; names have at most 255 bytes.

Headers that RabbitMQ's Go client does not read are not published: it closes its connection, and the message comes back
to it for ever (maxFieldDepth and maxContainerElements in
https://github.com/rabbitmq/amqp091-go/blob/v1.16.0/read.go).
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from struct import Struct
from struct import error as StructError  # noqa: N812 - an exception whose own name is `error`
from typing import Any, NamedTuple

from outboxkit.amqp.format import PERSISTENT
from relay.core.errors import MessageTooLarge, UnpublishableEvent
from relay.core.event import Defective, Message, Route

FRAME_MAX = 131_072
"""RabbitMQ's default limit of a frame in bytes, overhead included."""
_SHORT_STRING = 255
_CACHED = 4096
MOST_DEEP = 32
"""How many tables and arrays may be inside one another in the table of headers."""
MOST_ELEMENTS = 8192
"""How many elements one of them may have."""
MOST_HEADERS = 8000
"""How many headers a row may have: the relay adds its own, and RabbitMQ those of a dead letter."""

_METHOD, _HEADER, _BODY, _END = 1, 2, 3, b"\xce"
_BASIC, _PUBLISH = 60, 40
_MANDATORY = b"\x01"
# A frame is type, channel, payload size, payload and the end octet.
_FRAME = Struct(">BHI")
FRAME_OVERHEAD = _FRAME.size + len(_END)
_PUBLISH_START = Struct(">HHH")
# The bytes before the properties in a content header: class, weight, body size, and the list of properties.
_HEADER_BYTES = 14
_LENGTH = Struct(">I")
_FIELD_LENGTH = Struct(">cI")
_FIELD_INT32 = Struct(">ci")
_FIELD_INT64 = Struct(">cq")
_FIELD_DOUBLE = Struct(">cd")
# The property list has one bit for each property, from the highest: content type, headers, delivery mode, message id,
# timestamp, type, app id.
_PROPERTIES = 1 << 15 | 1 << 13 | 1 << 12 | 1 << 7 | 1 << 6 | 1 << 5 | 1 << 3
# The delivery mode, and the length of the message id that follows.
_ID_LENGTHS = [bytes((PERSISTENT, length)) for length in range(_SHORT_STRING + 1)]
_INT32 = range(-(2**31), 2**31)


class _Kind(NamedTuple):
    """The encoded parts that all messages of one route share."""

    method: bytes
    """The whole frame."""
    head: Callable[..., bytes]
    """Packs everything before the aggregate's id: start of the header frame, content type, start of the table."""
    content_type: bytes
    first_fields: bytes
    numbers: Callable[[int, int], bytes]
    """Encodes the version and the sequence number with their names."""
    tail: Callable[..., bytes]
    """Packs everything after the message id: timestamp, type, app id, end of the frame, start of a body frame."""
    type_and_app: bytes
    fixed: int
    """How many bytes of the properties do not depend on the message."""


class Encoder:
    """Encodes messages for one channel: mandatory, persistent, with the event's id as message id.

    A frame has at most `frame_max` bytes, overhead included; a message, with its headers, at most `max_bytes`.
    """

    def __init__(self, *, app_id: str, channel: int, frame_max: int, max_bytes: int) -> None:
        self.channel = channel
        self.frame_max = frame_max
        self._max_bytes = max_bytes
        self._most = frame_max - FRAME_OVERHEAD
        self._app_id = app_id
        self._kind = lru_cache(maxsize=_CACHED)(self._of_route)

    def encode(self, message: Message) -> bytes:
        """Return the frames of `message` as one piece.

        Raises UnpublishableEvent for a message that AMQP cannot carry, and MessageTooLarge.
        """
        headers, body, channel = message.headers, message.body, self.channel
        try:
            kind = self._kind(message.route)
            method, head, content_type, first_fields, encode_numbers, tail, type_and_app, fixed = kind
            message_id, aggregate_id = message.id.encode(), message.aggregate_id.encode()
            numbers = encode_numbers(message.aggregate_version, message.seq)
            more = _row_headers(headers) if headers else b""
            if len(message_id) > _SHORT_STRING:
                raise ValueError(f"its id is longer than {_SHORT_STRING} bytes")  # noqa: TRY301 - reported like the others
        except (ValueError, RecursionError) as error:
            raise _unpublishable(message, str(error)) from error
        of_body, of_id, of_aggregate = len(body), len(message_id), len(aggregate_id)
        of_table = len(first_fields) + _LENGTH.size + of_aggregate + len(numbers) + len(more)
        size = fixed + of_table + of_id
        if size > self._most:
            raise _unpublishable(message, f"its properties have {size} bytes, and a frame has room for {self._most}")
        if size + of_body > self._max_bytes:
            raise MessageTooLarge(
                f"the message has {size + of_body} bytes with its headers, "
                f"and RELAY_MAX_MESSAGE_BYTES is {self._max_bytes}",
                remedy="raise RELAY_MAX_MESSAGE_BYTES, at most to RabbitMQ's max_message_size, then redrive the event",
            )
        start = head(
            _HEADER, channel, size, _BASIC, 0, of_body, _PROPERTIES, content_type, of_table, first_fields, of_aggregate
        )
        at = message.timestamp
        end = tail(max(0, at), type_and_app, _END, _BODY, channel, of_body)  # AMQP has no times before 1970
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
        of = route.header_names
        first_fields = b"".join((
            _short(of.aggregate_type, "header's name"), _string("", route.aggregate_type, 0),
            _short(of.aggregate_id, "header's name"), b"S",
        ))  # fmt: skip
        type_and_app = _short(route.type, "type") + _short(self._app_id, "app id")
        tail = Struct(f">Q{len(type_and_app)}scBHI")
        return _Kind(
            _frame(_METHOD, self.channel, publish),
            Struct(f">BHIHHQH{len(content_type)}sI{len(first_fields)}sI").pack,
            content_type,
            first_fields,
            _numbers(of.aggregate_version, of.seq),
            tail.pack,
            type_and_app,
            _HEADER_BYTES + len(content_type) + _LENGTH.size + len(_ID_LENGTHS[0]) + tail.size - FRAME_OVERHEAD,
        )

    def _bodies(self, body: bytes) -> Iterator[bytes]:
        for at in range(0, len(body), self._most):
            yield _frame(_BODY, self.channel, body[at : at + self._most])


def _unpublishable(message: Message, why: str) -> UnpublishableEvent:
    return UnpublishableEvent(
        f"event {message.id} cannot be published: {why}", remedy="write events within the limits of AMQP"
    )


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"%b%b\xce" % (_FRAME.pack(kind, channel, len(payload)), payload)


def _short(text: str, what: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > _SHORT_STRING:
        raise ValueError(f"its {what} is longer than {_SHORT_STRING} bytes")
    return bytes((len(encoded),)) + encoded


_header_name = lru_cache(maxsize=_CACHED)(partial(_short, what="header's name"))


def _numbers(version_name: str, seq_name: str) -> Callable[[int, int], bytes]:
    """Return what encodes two numbers under these names."""
    start_of_version, start_of_seq = _short(version_name, "header's name"), _short(seq_name, "header's name")
    version_int32, seq_int32 = start_of_version + b"I", start_of_seq + b"I"
    pack = Struct(f">{len(version_int32)}si{len(seq_int32)}si").pack

    def encoded(version: int, seq: int) -> bytes:
        try:
            return pack(version_int32, version, seq_int32, seq)
        except StructError:  # beyond 32 bits
            pass
        return b"".join((start_of_version, _integer(version_name, version), start_of_seq, _integer(seq_name, seq)))

    return encoded


def _row_headers(headers: Mapping[str, object]) -> bytes:
    if isinstance(headers, Defective):
        raise ValueError(headers.why)  # noqa: TRY004 - of the event, not of an argument
    if "CC" in headers or "BCC" in headers:
        _check_copies(headers)
    if len(headers) > MOST_HEADERS:
        raise ValueError(f"it has more than {MOST_HEADERS} headers")
    return _fields(headers, 0)


def _fields(fields: Mapping[str, object], depth: int) -> bytes:
    return b"".join([
        piece
        for name, value in fields.items()
        for piece in (_header_name(name), _FIELDS.get(type(value), _strange)(name, value, depth))
    ])  # fmt: skip


def _check_copies(headers: Mapping[str, object]) -> None:
    """Refuse values for which RabbitMQ closes the channel (https://www.rabbitmq.com/docs/sender-selected)."""
    for name in ("CC", "BCC"):
        keys = headers.get(name, [])
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise ValueError(f"header {name!r} is not a list of routing keys")


def _string(_: str, value: str, __: int) -> bytes:
    encoded = value.encode()
    return _FIELD_LENGTH.pack(b"S", len(encoded)) + encoded


def _integer(name: str, value: int, _: int = 0) -> bytes:
    if value in _INT32:
        return _FIELD_INT32.pack(b"I", value)
    if -(2**63) <= value < 2**63:
        return _FIELD_INT64.pack(b"l", value)
    raise ValueError(f"header {name!r} is an integer beyond 64 bits")


def _double(name: str, value: float, _: int) -> bytes:
    if not math.isfinite(value):  # RabbitMQ closes the connection for it
        raise ValueError(f"header {name!r} is a number outside the range of a double")
    return _FIELD_DOUBLE.pack(b"d", value)


def _array(name: str, value: Sequence[object], depth: int) -> bytes:
    depth = _deeper(name, value, depth)
    items = b"".join([_FIELDS.get(type(item), _strange)(name, item, depth) for item in value])
    return _FIELD_LENGTH.pack(b"A", len(items)) + items


def _table(name: str, value: Mapping[str, object], depth: int) -> bytes:
    table = _fields(value, _deeper(name, value, depth))
    return _FIELD_LENGTH.pack(b"F", len(table)) + table


def _deeper(name: str, value: Collection[object], depth: int) -> int:
    if depth == MOST_DEEP:
        raise ValueError(f"header {name!r} is more than {MOST_DEEP} levels deep")
    if len(value) > MOST_ELEMENTS:
        raise ValueError(f"header {name!r} has more than {MOST_ELEMENTS} elements in one table or array")
    return depth + 1


def _strange(name: str, _: object, __: int) -> bytes:
    raise ValueError(f"header {name!r} is not a JSON value")


_FIELDS: Mapping[type, Callable[[str, Any, int], bytes]] = {
    str: _string,
    bool: lambda _, value, __: b"t\x01" if value else b"t\x00",
    int: _integer,
    float: _double,
    type(None): lambda _, __, ___: b"V",
    list: _array,
    dict: _table,
}
