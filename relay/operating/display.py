"""How commands print for people."""

import sys

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from outboxkit.text import printable

_WIDE = 240


def console() -> Console:
    """Return a console as wide as the terminal. Files and pipes get long lines, because their lines are searched."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDE)


def print_table(table: Table) -> None:
    """Print a table; on a terminal that is too narrow for it, each row as `column value; …`, and nothing cut."""
    on = console()
    if Measurement.get(on, on.options.update(max_width=_WIDE), table).maximum <= on.width:
        on.print(table)
        return
    names = [column.header for column in table.columns]
    for row in zip(*(column.cells for column in table.columns), strict=True):
        named = (f"{name} {cell}" for name, cell in zip(names, row, strict=True) if str(cell))
        on.print(plain("; ".join(named)))


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
