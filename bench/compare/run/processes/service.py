"""A program that is started again when it ends, as systemd does with Restart=always and RestartSec=1."""

import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from bench.load.programs import Program
from outboxkit.errors import Problem

RESTART_SECONDS = 1.0
_FIRST_SECONDS = 30.0
_FEW = 5
"""A program that has ended so often before it was ready for the first time does not work at all."""


class Service:
    """Keeps the program that `start` starts running for a `with` block, in a thread; `ready` says when it works."""

    def __init__(
        self, start: Callable[[], AbstractContextManager[Program]], ready: Callable[[Program], bool]
    ) -> None:  # fmt: skip
        self.restarts = 0
        self._start = start
        self._ready = ready
        self._was_ready = False
        self._failure: BaseException | None = None
        self._program: Program | None = None
        self._last = ""
        self._begun, self._ended, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)

    @property
    def name(self) -> str:
        """What messages call the program."""
        return self._present.name

    @property
    def pid(self) -> int:
        """The id of its process now, or of the last one."""
        return self._present.pid

    def ready(self) -> bool:
        """Return whether it works now."""
        self._was_ready = self._ready(self._present) or self._was_ready
        return self._ready(self._present)

    def check(self) -> None:
        """Raise Problem if it cannot be started, or ends again and again before it is ready."""
        if self._failure is not None:
            raise self._failure
        if self.restarts >= _FEW and not self._was_ready:
            raise Problem(
                f"{self.name} ended {self.restarts} times before it was ready: {self._last}", remedy="see its message"
            )

    def last_line(self) -> str:
        """Return the last line of its output."""
        return self._present.last_line()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._present.send(signal.SIGKILL)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._begun.wait(_FIRST_SECONDS):
            raise Problem("a program was not started", remedy="see whether the machine is overloaded")
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._ended.set()
        if self._program is not None:
            self._program.end()
        self._thread.join()

    @property
    def _present(self) -> Program:
        if self._program is None:
            raise Problem("a program is not started yet", remedy="enter the block of its service first")
        return self._program

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._run_once()
        except BaseException as error:  # noqa: BLE001 - raised by `check`
            self._failure = error
            self._begun.set()

    def _run_once(self) -> None:
        with self._start() as program:
            with self._lock:
                self._program = program
                stopping = self._ended.is_set()
            self._begun.set()
            if not stopping:
                program.wait()
            self._last = program.last_line()
        if not self._ended.is_set():
            self.restarts += 1
            self._ended.wait(RESTART_SECONDS)
