"""Durations as people write them, in seconds. Pure."""

import re
from datetime import timedelta

ALLOWED = 'write a number of seconds, or a duration with its units, such as "90 s", "5m" or "1h30m" (ms, s, m, h, d, w)'
LONGEST = 366 * 86_400.0

_UNITS = {"w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0, "ms": 0.001}
_ORDER = ("w", "d", "h", "m", "s", "ms")
_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|min|[wdhms])", re.ASCII)
_NUMBER = re.compile(r"\s*[0-9]+(?:\.[0-9]+)?\s*", re.ASCII)

Duration = float | str | timedelta


def seconds(value: Duration) -> float:
    """Return how many seconds `value` is; raises ValueError, which says what is wrong with it.

    Text is a number of seconds, or numbers with units: each unit once, the largest first.
    """
    if isinstance(value, timedelta):
        found = value.total_seconds()
    elif isinstance(value, str):
        found = float(value) if _NUMBER.fullmatch(value) else _with_units(value)
    else:
        found = -1.0 if isinstance(value, bool) or not isinstance(value, (int, float)) else float(value)
    if not 0 <= found <= LONGEST:  # nor NaN
        raise ValueError(f"{value!r} is no duration between 0 and {LONGEST / 86_400:.0f} days")
    return found


def text(duration: float) -> str:
    """Return a duration as people read it: the units that it needs."""
    milliseconds, parts = round(duration * 1000), []
    for unit in _ORDER:
        count, milliseconds = divmod(milliseconds, round(_UNITS[unit] * 1000))
        parts += [f"{count}{unit}"] if count else []
    return " ".join(parts) or "0s"


def _with_units(value: str) -> float:
    at, units, total = 0, [], 0.0
    while (part := _PART.match(value, at)) is not None:
        number, unit = part.groups()
        units.append(_ORDER.index("m" if unit == "min" else unit))
        total += float(number) * _UNITS[unit]
        at = part.end()
    if not units or value[at:].strip():
        raise ValueError(f"{value!r} is no duration")
    if units != sorted(set(units)):
        raise ValueError(f"{value!r} has a unit twice, or a smaller one before a larger one")
    return total
