"""How commands write for people: sizes in words, and lines as wide as their reader."""

import sys

from rich.console import Console

_WIDE = 240


def console() -> Console:
    """Write for the terminal's width; to a file or a pipe, where lines are searched, hardly ever break one."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDE)


def size(count: int) -> str:
    """Write a number of bytes in binary units."""
    value, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024:  # noqa: PLR2004 - the step of binary units
            break
        value, unit = value / 1024, larger
    return f"{count} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
