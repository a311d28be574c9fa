"""Reads logical messages: the relay's own fences, and the events of an outbox without a table. Pure.

    SELECT pg_logical_emit_message(true, 'orders', '{
        "id": "0b0c9a1e-9df5-4a0e-8f4e-1f2f3f4f5f6f", "aggregate_type": "order", "aggregate_id": "42",
        "event_type": "placed", "payload": {"total": 12.50}}')

https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-REPLICATION. The content is a JSON object in
UTF-8 with the fields of an event. Those above are required. `aggregate_version`, `seq` (integers), `headers` (an
object), `exchange`, `routing_key` and `created_at` (ISO 8601, or milliseconds since 1970) may be missing or null, with
the defaults of layout.py. Other members are ignored. The payload is any JSON value, with any number and however deep,
relayed byte for byte.

A message must be transactional (`true`). A message that is not stays in the WAL when its transaction rolls back, so it
would announce what never happened. The relay ignores it: that shows in the first test, a false event would not.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime

from relay.core.errors import UndecodableChange
from relay.core.event import Fence, OutboxEvent
from relay.core.messages.headers import refuse_constant
from relay.sources.fields import FIELDS, REQUIRED
from relay.sources.reader import message_reader

FENCE = "relay.fence"
"""The prefix of the messages that the relay writes to see its stream move."""

_PARKED_WITHOUT = {"aggregate_type", "event_type"}
_CLOSES = {"{": "}", "[": "]"}
_BLANKS = frozenset(" \t\n\r")
_MARK = re.compile(r"[ \t\n\r]*([{}:,]?)[ \t\n\r]*")


class Messages:
    """Reads the transactional messages of a stream; messages with `prefix`, unless it is None, are events."""

    def __init__(self, prefix: str | None, *, time_unit: str = "ms") -> None:
        self._prefix = prefix
        self._reader = message_reader(f"a message {prefix!r}", time_unit=time_unit)

    def read(
        self, prefix: str, content: bytes, committed_at: Callable[[], datetime], transaction: int | None = None
    ) -> OutboxEvent | Fence | None:
        """Return the event or fence in a message, if any; raises UndecodableChange naming what an event lacks."""
        if prefix == FENCE:
            return Fence(content.decode(errors="replace"))
        if prefix != self._prefix:
            return None
        try:
            fields = _members(content.decode())
            values = [_value(field, fields.get(field)) for field in FIELDS]
        except (ValueError, RecursionError) as error:
            raise UndecodableChange(
                f"the content of a message {prefix!r} cannot be read: {error}", remedy=_REMEDY
            ) from error
        return self._reader.event(values, committed_at, transaction)


def _value(field: str, literal: str | None) -> str | None:
    if field == "payload" and literal is not None:
        return literal
    if literal is None or literal == "null":
        if field in REQUIRED - _PARKED_WITHOUT:
            raise ValueError(f"{field!r} is missing")
        return None
    if field == "headers":
        return literal
    if literal[0] in "{[tf":
        raise ValueError(f"{field!r} is neither text nor a number")
    text: str = json.loads(literal) if literal[0] == '"' else literal
    text.encode()  # raises ValueError for half of a surrogate pair, which JSON allows and UTF-8 does not
    return text


def _members(text: str) -> Mapping[str, str]:
    """Return the members of the JSON object `text`, each value as the text that was written; raises ValueError."""
    found: dict[str, str] = {}
    mark, at = _mark("{", text, 0)
    if text.startswith("}", at):
        mark, at = _mark("}", text, at)
    while mark != "}":
        name, start = _member(text, at)
        at = _end(text, start)
        found[name] = text[start:at]
        mark, at = _mark(",}", text, at)
    if at != len(text):
        raise ValueError(f"text follows the object at character {at}")
    return found


def _member(text: str, at: int) -> tuple[str, int]:
    """Return the name of the member at `at`, and where its value begins; raises ValueError."""
    name, end = _scan(text, at)
    if text[at] != '"':
        raise ValueError(f"{text[at:end]} is not the name of a member")
    return name, _mark(":", text, end)[1]


def _end(text: str, at: int) -> int:
    """Return where the JSON value at `at` ends; raises ValueError."""
    try:
        return _scan(text, at)[1]
    except RecursionError:
        return _end_of_deep(text, at)


def _end_of_deep(text: str, at: int) -> int:
    """Do the same for a value that nests deeper than Python's parser goes."""
    closing: list[str] = []
    while True:
        if (closes := _CLOSES.get(text[at : at + 1])) is None:
            _, at = _scan(text, at)
        else:
            closing.append(closes)
            if not text.startswith(closes, first := _skip(text, at + 1)):
                at = _value_begins(text, first, closes)
                continue
            at += 1
        while closing and text.startswith(closing[-1], _skip(text, at)):
            at = _skip(text, at) + 1
            closing.pop()
        if not closing:
            return at
        _, next_ = _mark(",", text, at)
        at = _value_begins(text, next_, closing[-1])


def _value_begins(text: str, at: int, closes: str) -> int:
    """Return where the value at `at` begins: in an object, behind the name of its member."""
    return _member(text, at)[1] if closes == "}" else at


def _skip(text: str, at: int) -> int:
    """Return the place behind the blanks at `at`."""
    while text[at : at + 1] in _BLANKS:
        at += 1
    return at


def _mark(expected: str, text: str, at: int) -> tuple[str, int]:
    """Return the mark at `at`, one of `expected`, and where the next token begins; raises ValueError."""
    match = _MARK.match(text, at)
    if match is None or not match[1] or match[1] not in expected:
        raise ValueError(f"{' or '.join(expected)} is missing at character {at}")
    return match[1], match.end()


# Only the place where a value ends counts, and Python reads no integer of more than 4,300 digits.
_scan = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=refuse_constant).raw_decode
_REMEDY = "write a JSON object with the fields of an event; `relay slot skip` skips a transaction"
