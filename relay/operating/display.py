"""How commands print for people."""

import sys

from rich.console import Console
from rich.text import Text

from outboxkit.text import printable

_WIDE = 240


def console() -> Console:
    """Return a console as wide as the terminal. Files and pipes get long lines, because their lines are searched."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDE)


def err_console() -> Console:
    """Return a console for what is said beside the output."""
    return Console(stderr=True)


def plain(text: str) -> Text:
    """Return `text` without markup; control characters are printed as escapes."""
    return Text(printable(text))


def size(count: int) -> str:
    """Return a number of bytes in binary units."""
    value, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024:  # noqa: PLR2004 - the step of binary units
            break
        value, unit = value / 1024, larger
    return f"{count} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
