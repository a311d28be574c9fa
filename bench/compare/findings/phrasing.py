"""Numbers and lists as people read them. Pure."""

from collections.abc import Sequence

from bench.compare.findings.statistics import Estimate
from bench.compare.quantities import BYTES, COUNT, RATE, ROWS, SECONDS

_SECONDS = ((600.0, 60.0, "min"), (1.0, 1.0, "s"), (1e-3, 1e-3, "ms"), (0.0, 1e-6, "µs"))
_BYTES = ((1e9, 1e9, "GB"), (1e6, 1e6, "MB"), (1e3, 1e3, "kB"), (0.0, 1.0, "B"))
_DIGITS = 3


def number(value: float) -> str:
    """Return three significant digits, or all of an integer, with thousands separated."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{_DIGITS}g}")
    if abs(value) >= 10 ** (_DIGITS - 1):
        return f"{value:,.0f}" if abs(value) < 10**_DIGITS else f"{rounded:,.0f}"
    return f"{rounded:.6f}".rstrip("0").rstrip(".") or "0"


def quantity(value: float, unit: str) -> str:
    """Return a value in the multiple of its unit that makes it short: 0.0031 s is 3.1 ms."""
    factor, name = _scale(value, unit)
    return _joined(number(value / factor), name)


def stated(estimate: Estimate, unit: str) -> str:
    """Return an estimate with its interval, in one unit; without an interval where there is none."""
    factor, name = _scale(estimate.value, unit)
    value, low, high = (number(each / factor) for each in (estimate.value, estimate.low, estimate.high))
    text = _joined(value, name)
    return text if low == high else f"{text} ({low} to {high})"


def times(value: float, of: float) -> str:
    """Return `value` over another one, such as "21 times"; raises ZeroDivisionError for 0."""
    return f"{number(float(f'{value / of:.2g}'))} times"


def listed(names: Sequence[str]) -> str:
    """Return "a", "a and b", or "a; b; and c": the names of arms have commas of their own."""
    if len(names) <= 1:
        return "".join(names)
    return f"{'; '.join(names[:-1])}; and {names[-1]}" if len(names) > 2 else " and ".join(names)  # noqa: PLR2004 - two


def capital(text: str) -> str:
    """Return a text with its first letter large and all others as they are."""
    return text[:1].upper() + text[1:]


def plural(count: int, noun: str) -> str:
    """Return "1 event" or "2,000 events"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _scale(value: float, unit: str) -> tuple[float, str]:
    if value == 0 and unit in {SECONDS, BYTES}:
        return 1.0, unit
    if unit == SECONDS:
        return next((factor, name) for least, factor, name in _SECONDS if abs(value) >= least)
    if unit == BYTES:
        return next((factor, name) for least, factor, name in _BYTES if abs(value) >= least)
    return 1.0, {RATE: "/s", ROWS: "", COUNT: ""}.get(unit, unit)


def _joined(value: str, unit: str) -> str:
    return f"{value}{unit}" if unit.startswith("/") else f"{value} {unit}".strip()
