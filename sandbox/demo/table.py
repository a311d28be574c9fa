"""Prints the result of a demo as a table."""

from rich.console import Console
from rich.table import Table

from sandbox.demo.result import Counts

_TITLE = "from a task's commit to its end"


def show(result: Counts, console: Console) -> None:
    """Print the result as a table."""
    table = Table(title=_TITLE, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    values = vars(result)
    # What became of the tasks stands right below how many they are.
    for name in sorted(values, key=lambda name: {"committed": 0, "states": 1}.get(name, 2)):
        value = values[name]
        if name == "switches":
            for switch in value:
                table.add_row(f"{switch.from_mode} → {switch.to_mode}", switch.reason)
        elif name == "states":
            for status, number in value.items():
                table.add_row(f"  of them {status}", _text(number))
        else:
            table.add_row(_label(name), f"{value:.1f}" if name == "takeover_seconds" else _text(value))
    console.print(table)


def _label(name: str) -> str:
    words = name.replace("_", " ")
    if name.startswith("latency"):
        return f"{words.replace('latency', 'commit → applied')} (ms)"
    if name == "takeover_seconds":
        return "takeover (s)"
    return f"read by {words.removesuffix(' seconds').replace('wal', 'WAL')} (s)" if name.endswith("_seconds") else words


def _text(value: float | str | None) -> str:
    match value:
        case None:
            return "unknown"
        case str():
            return value
        case _:
            return f"{value:,.0f}"
