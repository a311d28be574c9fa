"""`--help` of every command of the relay: text, exit code 0, no traceback."""

from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from relay.operating.cli import app


def commands(command: Any, *names: str) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - a command of click, which typer includes
    yield names
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, *names, name)


EVERY = list(commands(get_command(app)))


@pytest.mark.parametrize("names", EVERY, ids=" ".join)
def test_every_command_has_help(names: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*names, "--help"], prog_name="relay")
    assert result.exit_code == 0, result.output
    assert result.exception is None
    assert f"Usage: {' '.join(('relay', *names))}" in result.output
    assert "Traceback" not in result.output


def test_the_commands_are_these() -> None:
    assert {" ".join(names) for names in EVERY} == {
        "",
        "setup",
        "run",
        "check",
        "status",
        "switch",
        "audit",
        "retention",
        "retention run",
        "tail",
        "positions",
        "parked",
        "parked list",
        "parked show",
        "parked redrive",
        "parked discard",
        "replay",
        "replay resume",
        "replay list",
        "slot",
        "slot show",
        "slot create",
        "slot drop",
        "slot skip",
    }
