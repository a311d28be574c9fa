"""What a sandbox's directory remembers of it: its kind, and what its back end needs to find it again."""

import json
from pathlib import Path
from typing import Any

_NAME = "sandbox.json"


def write(directory: Path, **values: str | int) -> None:
    """Write the record of `directory`; only its owner can read it, for it holds passwords."""
    part = directory / f"{_NAME}.part"
    part.touch(mode=0o600)
    part.write_text(json.dumps(values), encoding="utf-8")
    part.replace(directory / _NAME)


def read(directory: Path) -> dict[str, Any]:
    """Read the record of `directory`; empty when none was written."""
    try:
        values: dict[str, Any] = json.loads((directory / _NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return values
