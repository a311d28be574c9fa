"""The record in a sandbox's directory: its kind, and what its back end needs to find the servers again."""

import json
from pathlib import Path
from typing import Any

from sandbox.machine import directories, ports

_NAME = "sandbox.json"
_PORT = "_port"


def write(directory: Path, **values: str | int) -> None:
    """Add `values` to the record of `directory`; only its owner can read it, since it contains passwords."""
    part = directory / f"{_NAME}.part"
    part.touch(mode=0o600)
    part.write_text(json.dumps(read(directory) | values), encoding="utf-8")
    part.replace(directory / _NAME)


def reserve(directory: Path, *names: str, **values: str) -> dict[str, Any]:
    """Add a free port for each of `names`, which end in `_port`, and `values` to the record, and return it.

    A lock lets one sandbox at a time choose ports. Recorded ports count as taken, since their server may be stopped.
    """
    with directories.locked("ports"):
        others = [read(path) for path in directories.root().iterdir() if path.is_dir()]
        taken = frozenset(port for other in others for name, port in other.items() if name.endswith(_PORT))
        write(directory, **values, **dict(zip(names, ports.free(len(names), taken=taken), strict=True)))
    return read(directory)


def read(directory: Path) -> dict[str, Any]:
    """Read the record of `directory`; empty when there is none."""
    try:
        values: dict[str, Any] = json.loads((directory / _NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return values
