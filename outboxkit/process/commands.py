"""How every command ends, by exit code.

0 ok, 1 failed, 2 usage or configuration, 3 the question was answered and the answer is bad.
"""

import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from outboxkit.errors import ConfigurationProblem, Problem
from outboxkit.text import one_line

BAD_ANSWER = 3


def run(app: typer.Typer, *, name: str) -> NoReturn:
    """Run `app`, then end the process; a `Problem` is printed as one line with its remedy, and has an exit code."""
    try:
        _refuse_bytes(sys.argv[1:])
        app(prog_name=name)
    except Problem as problem:
        report(problem, name=name)
        sys.exit(problem.exit_code)
    sys.exit(0)


def report(problem: Problem, *, name: str) -> None:
    """Print `problem` to standard error as one line."""
    sys.stderr.write(f"{name}: {one_line(str(problem))}\n")


def _refuse_bytes(arguments: list[str]) -> None:
    """Refuse what no server and no file would take: bytes that are no text in the locale's encoding."""
    for number, argument in enumerate(arguments, start=1):
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise ConfigurationProblem(
                f"argument {number} is no text: {argument!a}", remedy="write it in UTF-8"
            ) from error


def _print_version(context: typer.Context, wanted: bool) -> None:  # noqa: FBT001 - how typer calls it
    if wanted:
        typer.echo(f"{context.info_name} {version('outbox-relay')}")
        raise typer.Exit


def options(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that every command has: this is the callback of its app."""
