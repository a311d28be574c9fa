"""Every subcommand with each kind of broken output: no traceback, and the exit code of its work."""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from tests.support.forked import BREAKS, MODULES, Case, ends

CANNOT_WRITE = "cannot write to standard output: "


def subcommands(name: str) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all commands below the program `name`, such as ("relay", "slot", "show")."""

    def below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - typer has no public type
        yield path
        for each, command_below in getattr(command, "commands", {}).items():
            yield from below(command_below, (*path, each))

    return below(typer.main.get_command(importlib.import_module(MODULES[name]).app), (name,))


@pytest.mark.parametrize("name", MODULES)
def test_each_subcommand_survives_any_standard_output(name: str) -> None:
    cases = [Case([*path, "--help"], stdout="full") for path in subcommands(name)]
    cases += [Case([name, "--version"], stdout=kind) for kind in BREAKS]
    for case, end in zip(cases, ends(cases), strict=True):
        if case.stdout in {"full", "read only"}:
            assert end.code == 1, (case, end)
            assert end.err.startswith(f"{name}: {CANNOT_WRITE}"), (case, end)
            assert end.err.count("\n") == 1, (case, end)
        else:
            assert (end.code, end.err) == (0, ""), (case, end)
            assert end.out.startswith(f"{name} ") is (case.stdout == "whole"), (case, end)


@pytest.mark.parametrize("name", MODULES)
def test_usage_errors_survive_any_standard_error_and_any_encoding(name: str) -> None:
    wrong = "--\u00e9\u2192\U0001f600=1"
    cases = [Case([name, wrong], encoding=encoding) for encoding in ("ascii", "latin-1")]
    cases += [Case([name, wrong], stderr=kind) for kind in BREAKS]
    for case, end in zip(cases, ends(cases), strict=True):
        assert (end.code, end.out) == (2, ""), (case, end)
        assert "Traceback" not in end.err, (case, end)


def test_a_problem_survives_any_standard_error() -> None:
    settings = {"RELAY_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/d", "RELAY_AMQP_URL": "amqp://u:p@127.0.0.1:1"}
    argv = ["relay", "status"]
    cases = [Case(argv, settings=settings, stderr=kind, stdout=out) for kind in BREAKS for out in BREAKS]
    for case, end in zip(cases, ends(cases), strict=True):
        assert (end.code, end.out) == (1, ""), (case, end)
        assert end.err.startswith("relay: Postgres is not available") is (case.stderr == "whole"), (case, end)


def test_settings_and_arguments_that_are_no_text_are_configuration_errors() -> None:
    url = {"RELAY_DATABASE_URL": "postgresql://u@127.0.0.1:1/d", "RELAY_AMQP_URL": "amqp://u:p@127.0.0.1:1"}
    cases = [
        *[
            Case(["relay", "status"], settings={**url, f"RELAY_{name}": "\udcff"})
            for name in ("NAME", "SLOT", "EXCHANGE", "DATABASE_URL", "AMQP_URL", "HTTP_ADDRESS", "READY_LAG", "\udcff")
        ],
        Case(["relay", "check", "--queue", "\udcff"], settings=url),
        Case(["relay", "parked", "show", "\udcff"], settings=url),
        Case(["relay", "status", "--config", "\udcff"], settings=url),
        Case(["writers", "submit", "--type", "\udcff"], settings=url),
    ]
    for case, end in zip(cases, ends(cases), strict=True):
        assert (end.code, end.out) == (2, ""), (case, end)
        assert (end.err.count("\n"), "Traceback" in end.err) == (1, False), (case, end)


def test_a_name_that_would_move_the_cursor_is_printed_as_an_escape() -> None:
    (end,) = ends([Case(["relay", "status", "--config", "\x1b[2J\u009b\nx"])])
    assert end.code == 2
    assert end.err.startswith("relay: \\x1b[2J\\x9b x cannot be read")
