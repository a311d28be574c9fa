"""The fields of an event, and how each is read from the text of a column. Pure.

A payload is relayed byte for byte. A time may be a timestamp (one without time zone is UTC) or a number since 1970, in
a unit that is set. A time that Python's datetime cannot represent, such as infinity, reads as None. Headers that cannot
be read, or not without loss, are Defective: the event is parked, and the stream goes on.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from relay.core.event import OutboxEvent
from relay.core.messages import headers

FIELDS = OutboxEvent.__struct_fields__[: OutboxEvent.__struct_fields__.index("content_type")]
"""Those that a row or a message has; the others of an event say where it comes from."""
REQUIRED = frozenset({"id", "aggregate_type", "aggregate_id", "event_type", "payload"})
"""The fields for which a table must have a column, and a message a member."""

DEFAULTS: Mapping[str, object] = {
    "seq": 0, "aggregate_id": "", "aggregate_version": 0, "payload": b"null", "headers": headers.NONE,
}  # fmt: skip
"""The values of fields without a column, or with NULL in it; other fields are None then."""
TIME_UNITS = {"s": Decimal(1_000_000), "ms": Decimal(1000), "us": Decimal(1), "ns": Decimal("0.001")}
"""The units of a time that is a number, in microseconds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_MICROSECONDS = Decimal(10) ** 18
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
# Timestamps of Postgres outside the years 1 to 9999, and numbers that are none.
_OUTSIDE_DATETIME = re.compile(r"-?infinity|nan|\d{5,}-.*|.* BC", re.IGNORECASE)


def bytea(value: str) -> bytes:
    r"""Read a bytea in the format of bytea_output = hex, `\x6f75`: https://www.postgresql.org/docs/current/datatype-binary.html."""
    return bytes.fromhex(value[2:])


def _payload(value: str | int) -> bytes:
    return str(value).encode()


def time(unit: str) -> Callable[[str | int], datetime | None]:
    """Return what reads a time; a number is in `unit` since 1970, a key of `TIME_UNITS`."""
    microseconds = TIME_UNITS[unit]

    def read(value: str | int) -> datetime | None:
        text = str(value)
        if _NUMBER.fullmatch(text):
            return _since_1970(text, microseconds)
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            if _OUTSIDE_DATETIME.fullmatch(text):
                return None
            raise
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    return read


def _since_1970(number: str, microseconds: Decimal) -> datetime | None:
    try:
        since = Decimal(number) * microseconds
        if abs(since) > _MOST_MICROSECONDS:
            return None
        return _EPOCH + timedelta(microseconds=math.floor(since))
    except (ArithmeticError, OverflowError):
        return None


CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "id": str,
    "seq": int,
    "aggregate_type": str,
    "aggregate_id": str,
    "aggregate_version": int,
    "event_type": str,
    "payload": _payload,
    "headers": headers.read,
    "exchange": str,
    "routing_key": str,
    "created_at": time("ms"),
}
"""What makes a field's value from a column's; each raises ValueError or RecursionError for what it cannot read."""
