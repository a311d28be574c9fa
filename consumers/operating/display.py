"""How commands print for people."""

import sys
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from consumers.durations import text
from outboxkit.text import printable

_WIDE = 240


def console() -> Console:
    """Return a console as wide as the terminal. Files and pipes get long lines, because their lines are searched."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDE)


def plain(value: object) -> Text:
    """Return a cell without markup; control characters are printed as escapes."""
    return Text(printable("" if value is None else str(value)))


def moment(time: datetime | None) -> str:
    """Return a time in UTC."""
    return "" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def age(seconds: float) -> str:
    """Return how long ago something was, in its two largest units."""
    rounded = round(seconds) if seconds >= 1 else round(seconds, 3)
    return " ".join(text(max(rounded, 0)).split()[:2])


def tasks(count: int) -> str:
    """Return a number of tasks with its noun."""
    return f"{count} {'task' if count == 1 else 'tasks'}"


def cut(value: str, most: int) -> str:
    """Return the beginning of a text, and how much more there is."""
    return value if len(value) <= most else f"{value[:most]}… ({len(value) - most} more characters)"
