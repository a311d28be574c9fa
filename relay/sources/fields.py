"""The fields of an event, and how each is read from the text of a column. Pure.

A payload is relayed byte for byte. A time may be a timestamp (one without time zone is UTC) or an integer:
milliseconds since 1970. A time that Python's datetime cannot represent, such as infinity, reads as None.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from relay.core.event import Headers, OutboxEvent

FIELDS = OutboxEvent.__struct_fields__[: OutboxEvent.__struct_fields__.index("content_type")]
"""Those that a row or a message has; the others of an event say where it comes from."""
REQUIRED = frozenset({"id", "aggregate_type", "aggregate_id", "event_type", "payload"})
"""The fields for which a table must have a column, and a message a member."""

_NO_HEADERS: Mapping[str, object] = Headers("{}", {})
DEFAULTS: Mapping[str, object] = {
    "seq": 0, "aggregate_id": "", "aggregate_version": 0, "payload": b"null", "headers": _NO_HEADERS,
}  # fmt: skip
"""The values of fields without a column, or with NULL in it; other fields are None then."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Timestamps of Postgres outside the years 1 to 9999.
_OUTSIDE_DATETIME = re.compile(r"-?infinity|\d{5,}-.*|.* BC")


def bytea(value: str) -> bytes:
    r"""Read a bytea in the format of bytea_output = hex, `\x6f75`: https://www.postgresql.org/docs/current/datatype-binary.html."""
    return bytes.fromhex(value[2:])


def refuse_constant(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python's json module accepts: for its `parse_constant`."""
    raise ValueError(f"JSON has no {constant}")


def _integer(text: str) -> int | float:
    """Read an integer; one with more digits than Python reads becomes infinity, as json does with such a fraction.

    https://docs.python.org/3/library/stdtypes.html#int-max-str-digits. No message can carry it.
    """
    try:
        return int(text)
    except ValueError:
        return -math.inf if text.startswith("-") else math.inf


_JSON = json.JSONDecoder(parse_int=_integer, parse_constant=refuse_constant)


def _payload(value: str | int) -> bytes:
    return str(value).encode()


def _headers(value: str | int) -> Mapping[str, object]:
    if value == "{}":
        return _NO_HEADERS
    text = str(value)
    headers = _JSON.decode(text)
    if not isinstance(headers, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - wrong input, reported as other wrong values are
    return Headers(text, headers)


def _time(value: str | int) -> datetime | None:
    text = str(value)
    try:
        if text.isdecimal():
            return _EPOCH + timedelta(milliseconds=int(text))
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        if text.isdecimal() or _OUTSIDE_DATETIME.fullmatch(text):
            return None
        raise
    return time if time.tzinfo else time.replace(tzinfo=UTC)


CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "id": str,
    "seq": int,
    "aggregate_type": str,
    "aggregate_id": str,
    "aggregate_version": int,
    "event_type": str,
    "payload": _payload,
    "headers": _headers,
    "exchange": str,
    "routing_key": str,
    "created_at": _time,
}
"""What makes a field's value from a column's; each raises ValueError or RecursionError for what it cannot read."""
