"""Processes that a benchmark starts and measures. They end with their block, and with the sandbox at the latest.

A module of this package that runs as a process reads its arguments as JSON from standard input, so that no password
is on a command line.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from outboxkit.errors import Problem
from sandbox.machine import commands, processes

_END_SECONDS = 30.0


class Program:
    """A running process; its output is in `log`."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """The process' id."""
        return self._process.pid

    def check(self) -> None:
        """Raise Problem, with the last line of its output, if it has ended."""
        if self._process.poll() is not None:
            raise Problem(
                f"{self.name} ended with {self._process.returncode}: {self.last_line()}", remedy="see its message"
            )

    def wait(self) -> None:
        """Wait until it ends, by itself or because somebody else ends it."""
        self._process.wait()

    def finish(self, *, seconds: float) -> None:
        """Wait until it ends by itself; raises Problem when it fails, or takes longer than `seconds`."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise Problem(f"{self.name} has not ended after {seconds:g} s", remedy="use fewer events") from error
        if code:
            self.check()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> None:
        """End it with SIGTERM, and with SIGKILL if it takes too long."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)  # it may be stopped, and would not notice
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def last_line(self) -> str:
        """Return the last line of its output."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing"


@contextmanager
def command(place: Path, *words: str, environment: Mapping[str, str]) -> Iterator[Program]:
    """Run one of the project's commands with only the settings in `environment`."""
    with _running(place, commands.found(words), " ".join(words), environment) as program:
        yield program


@contextmanager
def module(place: Path, name: str, arguments: Mapping[str, Any]) -> Iterator[Program]:
    """Run the module `name` of this package as a process, with `arguments` on its standard input."""
    with _running(place, [sys.executable, "-m", name], name, {}, json.dumps(arguments).encode()) as program:
        yield program


@contextmanager
def script(
    place: Path, words: list[str], name: str, arguments: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[Program]:
    """Run a program that is not the project's own, with `arguments` as JSON on its standard input."""
    with _running(place, words, name, environment, json.dumps(arguments).encode()) as program:
        yield program


def arguments() -> dict[str, Any]:
    """Read the arguments of this process."""
    found: dict[str, Any] = json.load(sys.stdin)
    return found


@contextmanager
def _running(
    place: Path, words: list[str], name: str, environment: Mapping[str, str], stdin: bytes = b""
) -> Iterator[Program]:
    place.mkdir(exist_ok=True, parents=True)
    log = place / f"{name.replace(' ', '-')}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=processes.marked(place, commands.environment(environment)),
        )
    assert process.stdin is not None  # noqa: S101 - asked for above
    process.stdin.write(stdin)
    process.stdin.close()
    program = Program(name, process, log)
    try:
        yield program
    finally:
        program.end()
