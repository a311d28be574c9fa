"""The JSON text of a request: is it JSON, and can everybody read it back? Pure.

Postgres gets the text itself, and consumers read what Postgres makes of it. So what a reader could stumble over is
refused here: JSON that nests too deep, and a number that is larger than a double (Postgres would write 1e5000 with all
its digits).
"""

import math
import re

from pydantic_core import from_json

from writers.service.problems import Answered, invalid

MOST_DEEP = 200
"""How deep objects and arrays may nest; the parser has this limit itself."""

# What may be larger than a double: only then is every number looked at.
_LARGE = re.compile(rb"[eE]\+?0*[1-9]\d\d|\d{309}")


def require_readable(body: bytes) -> None:
    """Raise Answered unless `body` is JSON in UTF-8 that can be read back everywhere."""
    try:
        parsed = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _refused(str(error)) from error
    if _LARGE.search(body) and _has_infinity(parsed):
        raise _refused("a number is too large: the largest is about 1.8e308")


def _refused(reason: str) -> Answered:
    text = reason.replace("recursion limit exceeded", f"objects and arrays nest deeper than {MOST_DEEP}")
    return invalid("body", f"it is no JSON that can be read everywhere: {text}")


def _has_infinity(parsed: object) -> bool:
    match parsed:
        case dict():
            return any(map(_has_infinity, parsed.values()))
        case list():
            return any(map(_has_infinity, parsed))
        case float():
            return math.isinf(parsed)
        case _:
            return False
