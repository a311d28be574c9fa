"""The project's own commands: where they are, and the environment that they run in."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

DIRECTORY = Path(sys.executable).parent
_PREFIXES = ("RELAY_", "CONSUMERS_", "WRITERS_", "SANDBOX")


def found(words: Sequence[str]) -> list[str]:
    """Return the command line `words` with the path of its program."""
    return [str(DIRECTORY / words[0]), *words[1:]]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process' environment with exactly these `settings`: the user's own would change the result."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES)} | dict(settings)
