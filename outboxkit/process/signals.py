"""What SIGINT and SIGTERM do, from a process's first moment to its last.

| moment                | the commands `run` and `serve`               | another command                     |
|-----------------------|----------------------------------------------|-------------------------------------|
| before the work       | nothing was taken on: one line, exit code 0  | ends it: SIGINT with 130            |
| the work, if `heard`  | the first one lets the listener end the work | the same                            |
|                       | the second one lets it give up, and ends the | the same                            |
|                       | process: 128 + number; a third one, at once  |                                     |
| the work, if not      | -                                            | ends it: SIGINT as KeyboardInterrupt|
| after the work        | ends the process with the exit code it has   | the same                            |
| in a forked child     | ends the child at once: 128 + number         | the same                            |

Python's own handlers come and go with an event loop. These stay, so that no moment is left out. Each command begins
with this module, so it imports next to nothing.
"""

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # as `typing` defines it; importing that takes as long as all the rest
    from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 128 + signal.SIGINT


class Listener:
    """Who ends the work in order."""

    def stop(self) -> None:
        """Begin to end: the first signal came. It is called in the main thread, between two instructions of it."""

    def give_up(self) -> None:
        """Give back what is left undone, or say what it is: the second signal came, and the process ends after this.

        It is called in the main thread, between two instructions of it, and may take a few seconds.
        """


class Signals:
    """The reactions of this process."""

    def __init__(self) -> None:
        self._service = False
        self._listener: Listener | None = None
        self._came = 0
        self._process = 0
        """Whose signals the listener is for: a child that is forked inherits these reactions, and not the work."""

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

    def heard(self, listener: Listener) -> "_Heard":
        """Call `listener` for the signals that come within the block."""
        return _Heard(self, listener)

    def listen(self, listener: Listener | None) -> None:
        """Call `listener` from here on; or nobody, since the work is over: then the first signal changes nothing."""
        self._listener, self._came, self._process = listener, 0, os.getpid()
        if listener is not None:
            for number in ENDING:
                signal.signal(number, self._end)

    def over(self, code: int) -> None:
        """End at once with `code`, the command's exit code, if a signal comes while Python ends."""

        def end(*_: object) -> None:
            os._exit(code)

        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, end)

    def _end_early(self, number: int, _: "FrameType | None") -> None:
        # There is nothing to clean up, and an exception could be raised in the middle of an import.
        if not self._service:
            os._exit(INTERRUPTED)
        reason = f"{signal.Signals(number).name} came before it had begun"
        text = reason if os.isatty(2) else f'{{"event": "stopped", "level": "info", "reason": "{reason}"}}'
        try:
            os.write(2, f"{text}\n".encode())
        finally:
            os._exit(0)

    def _end(self, number: int, _: "FrameType | None") -> None:
        if os.getpid() != self._process:
            os._exit(128 + number)
        self._came += 1
        listener = self._listener
        if self._came == 1:
            if listener is not None:
                listener.stop()
            return
        try:
            if listener is not None and self._came == 2:  # noqa: PLR2004 - the second signal
                listener.give_up()
            sys.stderr.flush()
        finally:
            os._exit(128 + number)


class _Heard:
    """The block of `Signals.heard`."""

    def __init__(self, signals: Signals, listener: Listener) -> None:
        self._signals = signals
        self._listener = listener

    def __enter__(self) -> None:
        self._signals.listen(self._listener)

    def __exit__(self, *_: object) -> None:
        self._signals.listen(None)


signals = Signals()
