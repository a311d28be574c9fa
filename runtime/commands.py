"""The one way a command of this project ends: 0 ok, 1 failed, 2 usage or configuration, 3 check found a problem."""

import sys
from typing import NoReturn

import typer

from runtime.errors import Problem


def run(app: typer.Typer, *, name: str) -> NoReturn:
    """Run `app` as the process; print a `Problem` as one line with its remedy and exit with its code."""
    try:
        app(prog_name=name)
    except Problem as problem:
        sys.stderr.write(f"{name}: {' '.join(str(problem).split())}\n")
        sys.exit(problem.exit_code)
    sys.exit(0)
