"""The progress of a demo: it is shown until every task is applied, while things are broken."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rich import progress
from rich.console import Console

from outboxkit.errors import Problem

STALLED_SECONDS = 60.0
_SHOWN_EVERY = 0.05


@dataclass(frozen=True)
class Progress:
    """How many tasks are committed and how many are applied."""

    committed: int
    applied: int


class Breaks(Protocol):
    """What breaks things while the demo runs."""

    @property
    def over(self) -> bool:
        """Whether everything was broken, and works again."""

    def go_on(self, progress: Progress) -> None:
        """Break the next thing, if it is due."""


def watch(
    look: Callable[[], Progress], breaks: Breaks, *, tasks: int, console: Console, stalled: Callable[[str], Problem]
) -> None:
    """Show what `look` returns until every task is applied and `breaks` is over.

    Raises what `stalled` makes of the reason, when nothing has changed for STALLED_SECONDS.
    """
    columns = (progress.TextColumn("{task.description:>9}"), progress.BarColumn(), progress.MofNCompleteColumn())
    best, since = Progress(0, 0), time.monotonic()
    with progress.Progress(*columns, console=console) as shown:
        bars = [shown.add_task(name, total=tasks) for name in ("committed", "applied")]
        while best.applied < tasks or not breaks.over:
            now = look()
            for bar, number in zip(bars, (now.committed, now.applied), strict=True):
                shown.update(bar, completed=number)
            breaks.go_on(now)
            if now != best:
                best, since = now, time.monotonic()
            elif time.monotonic() - since > STALLED_SECONDS:
                raise stalled(f"no progress for {STALLED_SECONDS:g} s at {best.applied:,} of {tasks:,} tasks applied")
            time.sleep(_SHOWN_EVERY)
