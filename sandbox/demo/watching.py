"""The progress of a demo: it is shown until every task has ended, while things are broken."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rich import progress
from rich.console import Console

from outboxkit.errors import Problem

STALLED_SECONDS = 60.0
_SHOWN_EVERY = 0.1


@dataclass(frozen=True)
class Progress:
    """How many tasks are committed and how many have ended, and all by status."""

    committed: int
    ended: int
    states: Mapping[str, int] = field(default_factory=dict)


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
    """Show what `look` returns until every task has ended and `breaks` is over.

    Raises what `stalled` makes of the reason, when nothing has changed for STALLED_SECONDS.
    """
    columns = (
        progress.TextColumn("{task.description:>9}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[states]}"),
    )
    best, since = Progress(0, 0), time.monotonic()
    with progress.Progress(*columns, console=console) as shown:
        committed, ended = (shown.add_task(name, total=tasks, states="") for name in ("committed", "ended"))
        while best.ended < tasks or not breaks.over:
            now = look()
            states = ", ".join(f"{status} {number:,}" for status, number in now.states.items())
            shown.update(committed, completed=now.committed)
            shown.update(ended, completed=now.ended, states=states)
            breaks.go_on(now)
            if now != best:
                best, since = now, time.monotonic()
            elif time.monotonic() - since > STALLED_SECONDS:
                raise stalled(f"no progress for {STALLED_SECONDS:g} s with {best.ended:,} of {tasks:,} tasks ended")
            time.sleep(_SHOWN_EVERY)
