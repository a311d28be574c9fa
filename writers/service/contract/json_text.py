"""The JSON text of a request: is it JSON, and can everybody read it back? Pure.

Postgres gets the text itself, and consumers read what Postgres makes of it. So what a reader could stumble over is
refused here: JSON that nests too deep, an integer of more than 4300 digits, and another number that is larger than a
double (Postgres would write 1e5000 with all its digits). An integer of fewer digits passes: a reader in JavaScript has
Infinity then, and one in Python the number. U+0000 is refused too, since Postgres cannot store it.
"""

import math
import re

from pydantic_core import from_json

from writers.service.contract.problems import Answered, invalid

MOST_DEEP = 200
"""How deep objects and arrays may nest; the parser has this limit itself."""

# Where there may be such a number or text: only then is every value looked at.
_SUSPECT = re.compile(rb"[eE]\+?0*[1-9]\d\d|\d{309}|\\u0000")


def require_readable(body: bytes) -> None:
    """Raise Answered unless `body` is JSON in UTF-8 that can be read back everywhere."""
    try:
        parsed = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _refused(str(error)) from error
    if _SUSPECT.search(body) and (reason := _obstacle(parsed)):
        raise _refused(reason)


def _refused(reason: str) -> Answered:
    text = reason.replace("recursion limit exceeded", f"objects and arrays nest deeper than {MOST_DEEP}")
    return invalid("body", f"it is no JSON that can be read everywhere: {text}")


def _obstacle(value: object) -> str | None:
    """Return why `value` cannot be stored and read back, or None."""
    match value:
        case dict():
            return next(filter(None, map(_obstacle, [*value, *value.values()])), None)
        case list():
            return next(filter(None, map(_obstacle, value)), None)
        case float() if math.isinf(value):
            return "a number is too large: the largest is about 1.8e308"
        case str() if "\0" in value:
            return r"a text has \u0000, which Postgres cannot store"
        case _:
            return None
