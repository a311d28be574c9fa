"""What SIGINT and SIGTERM do, from a process's first moment to its last.

|                                      | the command `run`                              | other commands                  |
|--------------------------------------|------------------------------------------------|---------------------------------|
| before the work begins               | nothing was taken on: one line, exit code 0    | 130; SIGTERM has its own effect |
| while `heard`                        | the listener is called, and ends it in order   | the same                        |
| the second one                       | the process ends at once, with 128 + number    | the same                        |
| after the work, or without a listener| ends with the exit code that it has            | SIGINT raises KeyboardInterrupt |

Python's own handlers come and go with an event loop. These stay, so that no moment is left out. It imports almost
nothing, because each command begins with it.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

ENDING = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 128 + signal.SIGINT


class Listener(Protocol):
    """Who ends the work in order."""

    def stop(self) -> None:
        """Begin to end: the first signal came."""

    def give_up(self) -> None:
        """Say what is left undone: the second signal came, and the process ends after this."""


class Signals:
    """The reactions of this process."""

    def __init__(self) -> None:
        self._service = False
        self._listener: Listener | None = None
        self._began = False
        self._came = 0

    def start(self, *, service: bool) -> None:
        """React to what comes during the imports. A shell that ignores SIGINT for a background process keeps that."""
        self._service = service
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._end_early)
        if service and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._end_early)

    def imported(self) -> None:
        """Let SIGINT raise KeyboardInterrupt: now the command may have something to clean up."""
        if not self._service and signal.getsignal(signal.SIGINT) == self._end_early:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    @contextmanager
    def heard(self, listener: Listener) -> Iterator[None]:
        """Call `listener` for what comes within the block, in the main thread, between two of its instructions."""
        self._listener, self._began = listener, True
        for number in ENDING:
            signal.signal(number, self._end)
        try:
            yield
        finally:
            self._listener = None

    def over(self, code: int) -> None:
        """End at once with `code`, the command's exit code, if a signal comes while Python ends."""

        def end(*_: object) -> None:
            os._exit(code)

        for number in ENDING if self._service or self._began else (signal.SIGINT,):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, end)

    def _end_early(self, number: int, _: FrameType | None) -> None:
        # There is nothing to clean up, and an exception could be raised in the middle of an import.
        if not self._service:
            os._exit(INTERRUPTED)
        reason = f"{signal.Signals(number).name} came before it had begun"
        text = reason if os.isatty(2) else f'{{"event": "stopped", "level": "info", "reason": "{reason}"}}'
        try:
            os.write(2, f"{text}\n".encode())
        finally:
            os._exit(0)

    def _end(self, number: int, _: FrameType | None) -> None:
        self._came += 1
        listener = self._listener
        if self._came == 1:
            if listener is not None:
                listener.stop()
            return
        try:
            if listener is not None:
                listener.give_up()
            sys.stderr.flush()
        finally:
            os._exit(128 + number)


signals = Signals()
