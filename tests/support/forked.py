"""Ends of commands with broken streams: each in a child of one process, since importing a command takes seconds.

`python -m tests.support.forked` reads cases from standard input and prints their ends; `ends` is how a test calls it.
"""

import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, NamedTuple

from outboxkit.process import entry
from tests.support.commands import ROOT, environment

MODULES = {
    "relay": "relay.operating.cli",
    "consumers": "consumers.operating.cli",
    "writers": "writers.cli",
    "sandbox": "sandbox.cli",
    "bench": "bench.cli",
}


@dataclass(frozen=True)
class Case:
    """A command line, and what its standard output and error are: a kind of `BREAKS`."""

    argv: Sequence[str]
    stdout: str = "whole"
    stderr: str = "whole"
    encoding: str = "utf-8"
    settings: Mapping[str, str] = field(default_factory=dict)


class End(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def ends(cases: Sequence[Case]) -> list[End]:
    """Return how each of `cases` ends."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.forked"],
        input=json.dumps([asdict(case) for case in cases]),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment({}),
        check=True,
        text=True,
    )
    return [End(*each) for each in json.loads(done.stdout)]


def _reader_left(number: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, number)


BREAKS: Mapping[str, Callable[[int], object]] = {
    "whole": lambda _: None,
    "closed": os.close,
    "full": lambda number: os.dup2(os.open("/dev/full", os.O_WRONLY), number),
    "read only": lambda number: os.dup2(os.open(os.devnull, os.O_RDONLY), number),
    "left": _reader_left,
}


def _child(case: Case, out: int, err: int) -> None:
    """Become the command, as Python starts it with these streams."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    BREAKS[case.stdout](1)
    BREAKS[case.stderr](2)
    os.environ.update(case.settings)
    if case.stdout == "closed":
        sys.stdout = None  # as Python has it
    else:
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), case.encoding)
    if case.stderr == "closed":
        sys.stderr = None
    else:
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), case.encoding)
    sys.argv = list(case.argv)
    entry.run(MODULES[case.argv[0]])


def _end(case: Case) -> End:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = os.fork()
        if not process:
            _child(case, out.fileno(), err.fileno())
        _, status = os.waitpid(process, 0)
        return End(os.waitstatus_to_exitcode(status), _text(out), _text(err))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="backslashreplace")


if __name__ == "__main__":
    given = [Case(**case) for case in json.load(sys.stdin)]
    for name in {case.argv[0] for case in given}:
        importlib.import_module(MODULES[name])
    json.dump([_end(case) for case in given], sys.stdout)
