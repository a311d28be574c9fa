"""Instances of `writers serve` on this machine, each at a free port of loopback."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from writers.locking.processes import Program

_COMMAND = "from outboxkit.process.entry import writers; writers()"
"""What the installed command `writers` runs: it need not be on the PATH."""


class Instance(NamedTuple):
    """A running instance, and the address that it listens on."""

    program: Program[str]
    address: str


@contextlib.contextmanager
def started(number: int, config: Path | None = None, **settings: str) -> Iterator[list[Instance]]:
    """Start `number` instances, called writers-1, writers-2 and so on, for the block; yield them when all serve.

    They have the settings of this process, of `config` and, above both, those given. Raises Problem if one ends.
    """
    with contextlib.ExitStack() as stack:
        programs = []
        for each in range(1, number + 1):
            programs.append(_start(f"writers-{each}", config, settings))
            stack.callback(programs[-1].end)
        yield [Instance(program, program.ready()) for program in programs]


def _start(name: str, config: Path | None, settings: dict[str, str]) -> Program[str]:
    words = [sys.executable, "-P", "-c", _COMMAND, "serve", *(["--config", str(config)] if config else [])]
    own = {"WRITERS_INSTANCE": name, "WRITERS_HTTP_ADDRESS": "127.0.0.1:0", "WRITERS_DEMO": "true"}
    return Program(name, words, _address, own | {f"WRITERS_{key.upper()}": value for key, value in settings.items()})


def _address(line: str) -> str | None:
    with contextlib.suppress(ValueError):
        logged = json.loads(line)
        if isinstance(logged, dict) and logged.get("event") == "serving":
            return str(logged["address"])
    return None
