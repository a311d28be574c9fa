"""Programs that end with this one, however it ends, and that say on standard error when they are ready."""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import IO, Generic, TypeVar

from outboxkit.errors import Problem

T = TypeVar("T")

_KEPT_LINES = 200
_READY_SECONDS = 30.0
_END_SECONDS = 10.0
_SYSTEM_PLACES = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class Program(Generic[T]):
    """A running program; `ready` is called with each of its lines, until it returns something."""

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        ready: Callable[[str], T | None],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._ready = ready
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._found: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        # The kernel ends it when the thread that starts it here is gone, also by SIGKILL. In a session of its own,
        # it is ended by us and not by the terminal's Ctrl-C, so it is ended in order.
        self._process = subprocess.Popen(  # noqa: S603 - the project's own commands, and nginx
            [found("setpriv", package="util-linux"), "--pdeathsig", "TERM", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=None if environment is None else os.environ | environment,
            start_new_session=True,
        )
        assert self._process.stderr is not None  # noqa: S101 - it is a pipe
        self._reader = threading.Thread(target=self._read, args=[self._process.stderr], daemon=True)
        self._reader.start()

    def ready(self) -> T:
        """Wait until it is ready, and return what its line says. Raises Problem if it ends, or takes too long."""
        try:
            answer = self._found.get(timeout=_READY_SECONDS)
        except queue.Empty as error:
            raise Problem(
                f"{self.name} is not ready after {_READY_SECONDS:g} s; it last said: {self._last()}",
                remedy="see what keeps it, and try again",
            ) from error
        if answer is None:
            raise Problem(f"{self.name} has ended: {self._last()}", remedy="do what it says, and try again")
        return answer

    def complaint(self) -> Problem | None:
        """Return the last error that it has logged with a remedy."""
        for line in reversed(tuple(self._lines)):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                logged = json.loads(line)
                if logged["level"] == "error":
                    return Problem(f"{self.name}: {logged['reason']}", remedy=logged["remedy"])
        return None

    def kill(self) -> None:
        """End it with SIGKILL, and wait until it has ended."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """End it in order: SIGTERM, and SIGKILL if it takes too long."""
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join()

    def _read(self, lines: IO[str]) -> None:
        answered = False
        with lines:
            for line in lines:
                self._lines.append(line.strip())
                if not answered and (answer := self._ready(line)) is not None:
                    self._found.put(answer)
                    answered = True
        self._found.put(None)

    def _last(self) -> str:
        return next(reversed(self._lines), "nothing")


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Let SIGTERM raise SystemExit within the block, as SIGINT raises KeyboardInterrupt: programs are ended then."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def found(program: str, *, package: str, otherwise: str = "") -> str:
    """Return the path of `program`; raises Problem that names its `package` if there is none."""
    path = shutil.which(program, path=os.pathsep.join([*os.get_exec_path(), *_SYSTEM_PLACES]))
    if path is None:
        raise Problem(
            f"{program} is not installed",
            remedy=f"install the package {package} (Debian, Ubuntu, as root: apt-get install {package}){otherwise}",
        )
    return path
