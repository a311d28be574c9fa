"""How every command ends, by exit code: 0 ok, 1 failed, 2 usage or configuration, 3 a check found a problem."""

import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from outboxkit.errors import Problem


def run(app: typer.Typer, *, name: str) -> NoReturn:
    """Run `app`, then end the process; a `Problem` is printed as one line with its remedy, and has an exit code."""
    try:
        app(prog_name=name)
    except Problem as problem:
        sys.stderr.write(f"{name}: {' '.join(str(problem).split())}\n")
        sys.exit(problem.exit_code)
    sys.exit(0)


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
