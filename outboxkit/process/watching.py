"""`--watch` of a status command: look and show, again and again."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TypeVar

from rich.console import RenderableType
from rich.live import Live

from outboxkit.process.streams import unread

F = TypeVar("F")


def repeat(
    look: Callable[[F | None], F],
    *,
    every: float,
    show: Callable[[F], None],
    drawn: Callable[[F], RenderableType] | None,
) -> None:
    """Look and show until Ctrl-C, or until nobody reads it. `look` gets what it found the time before, or None.

    On a terminal, what is `drawn` stays in place; None where it is to be written there as elsewhere.
    """
    with suppress(KeyboardInterrupt):
        found = look(None)
        if drawn is not None and sys.stdout.isatty():
            _in_place(look, found, every=every, drawn=drawn)
        while True:
            show(found)
            sys.stdout.flush()
            if unread():
                return
            time.sleep(every)
            found = look(found)


def _in_place(
    look: Callable[[F | None], F], found: F, *, every: float, drawn: Callable[[F], RenderableType]
) -> NoReturn:
    with Live(drawn(found), auto_refresh=False) as live:
        while True:
            time.sleep(every)
            found = look(found)
            live.update(drawn(found), refresh=True)
