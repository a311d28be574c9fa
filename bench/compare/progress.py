"""Shows how far a comparison is: a bar on a terminal, lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from bench.compare.running import Observe, Progress

_MINUTE = 60


def words(seconds: float) -> str:
    """Return a length of time as people say it. Pure."""
    if seconds < _MINUTE:
        return "less than a minute left"
    hours, minutes = divmod(round(seconds / _MINUTE), _MINUTE)
    return f"about {hours} h {minutes} min left" if hours else f"about {minutes} min left"


@contextmanager
def shown(console: Console) -> Iterator[Observe]:
    """Yield what shows progress on `console` for the block."""
    if not console.is_terminal:
        yield lambda seen: _line(console, seen)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    with Bars(*columns, console=console) as bars:
        task = bars.add_task("", total=None, left="")
        yield lambda seen: bars.update(
            task, description=seen.next, completed=seen.made, total=seen.of, left=words(seen.left) if seen.next else ""
        )


def _line(console: Console, seen: Progress) -> None:
    if seen.next:
        console.print(f"{seen.made + 1} of {seen.of}: {seen.next}; {words(seen.left)}", highlight=False)
