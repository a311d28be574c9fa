"""Reads the headers of a row. Pure.

Headers that cannot be read, or not without loss, are Defective: the event is parked, and the stream goes on.
"""

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import NoReturn

from relay.core.event import Defective, Headers
from relay.core.messages.nesting import too_deep

NONE: Mapping[str, object] = Headers("{}", {})
"""The headers of a row that has none."""
_SHOWN = 60


def read(value: str | int) -> Mapping[str, object]:
    """Return the headers that a column's text has; Defective, if no message can carry them."""
    if value in {"{}", "null"}:
        return NONE
    text = str(value)
    if too_deep(text):
        return Defective(text, "its headers nest too deep")
    try:
        headers = _JSON.decode(text)
    except ValueError as error:
        return Defective(text, f"its headers cannot be read: {error}")
    if not isinstance(headers, dict):
        return Defective(text, "its headers are not a JSON object") if headers is not None else NONE
    return Headers(text, headers)


def refuse_constant(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python's json module accepts: for its `parse_constant`."""
    raise ValueError(f"JSON has no {constant}")


def _number(text: str) -> float:
    """Read a fraction; raises ValueError if a double, which is all that AMQP has, does not keep its digits."""
    value = float(text)
    try:
        if math.isfinite(value) and Decimal(repr(value)) == Decimal(text):
            return value
    except ArithmeticError:  # an exponent beyond Decimal's
        pass
    raise ValueError(f"the number {text[:_SHOWN]} has more digits than a message keeps")


def _integer(text: str) -> int:
    """Read an integer; raises ValueError for more digits than Python reads, which are too many for any message.

    https://docs.python.org/3/library/stdtypes.html#int-max-str-digits
    """
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"the number {text[:_SHOWN]}... has {len(text)} digits") from error


_JSON = json.JSONDecoder(parse_float=_number, parse_int=_integer, parse_constant=refuse_constant)
