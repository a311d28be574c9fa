"""Processes that a benchmark starts and looks at; they end with their block, and with the sandbox whatever happens.

A program of our own is a module that reads one JSON object, its orders, from standard input: no password stands on
a command line.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from outboxkit.errors import Problem
from sandbox.machine import processes

_COMMANDS = Path(sys.executable).parent
_END_SECONDS = 30.0
# Settings of the user's own would change what is measured.
_OURS = ("RELAY_", "CONSUMERS_", "WRITERS_", "SANDBOX")


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
        """Raise Problem, with its last words, if it has ended."""
        if self._process.poll() is not None:
            raise Problem(f"{self.name} ended with {self._process.returncode}: {self.last_words()}", remedy="see above")

    def finish(self, *, seconds: float) -> None:
        """Wait for it to end by itself; raises Problem when it fails, or when it takes longer."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise Problem(f"{self.name} is not done after {seconds:g} s", remedy="look at the load") from error
        if code:
            self.check()

    def end(self) -> None:
        """Ask it to end, and kill it if it does not."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def last_words(self) -> str:
        """Return the last line of its output."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


@contextmanager
def command(place: Path, *words: str, environment: Mapping[str, str]) -> Iterator[Program]:
    """Run one of the project's commands with only the settings in `environment`."""
    with _running(place, [str(_COMMANDS / words[0]), *words[1:]], " ".join(words), environment) as program:
        yield program


@contextmanager
def ours(place: Path, module: str, orders: Mapping[str, Any]) -> Iterator[Program]:
    """Run a module of this package as a process, with `orders` on its standard input."""
    with _running(place, [sys.executable, "-m", module], module, {}, json.dumps(orders).encode()) as program:
        yield program


def orders() -> dict[str, Any]:
    """Read the orders of this process."""
    found: dict[str, Any] = json.load(sys.stdin)
    return found


@contextmanager
def _running(
    place: Path, words: list[str], name: str, environment: Mapping[str, str], stdin: bytes = b""
) -> Iterator[Program]:
    place.mkdir(exist_ok=True)
    log = place / f"{name.replace(' ', '-')}.log"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=processes.marked(place, {**inherited, **environment}),
        )
    assert process.stdin is not None  # noqa: S101 - asked for above
    process.stdin.write(stdin)
    process.stdin.close()
    program = Program(name, process, log)
    try:
        yield program
    finally:
        program.end()
