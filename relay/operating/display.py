"""How commands write for people: sizes in words, and lines as wide as their reader."""

import sys

from rich.console import Console
from rich.text import Text

_WIDE = 240


def console() -> Console:
    """Write for the terminal's width; to a file or a pipe, where lines are searched, hardly ever break one."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDE)


def plain(text: str) -> Text:
    """Write `text` as it is: nothing in it is markup, and control characters are told instead of obeyed."""
    return Text("".join([each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text]))


def size(count: int) -> str:
    """Write a number of bytes in binary units."""
    value, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024:  # noqa: PLR2004 - the step of binary units
            break
        value, unit = value / 1024, larger
    return f"{count} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
