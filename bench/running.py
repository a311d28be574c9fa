"""What every benchmark command does around its measurement: it starts the servers, and prints the report."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import sandbox
from bench.report import surroundings, tables
from bench.report.report import Report
from sandbox import Sandbox

Json = Annotated[Path | None, typer.Option("--json", help="Write the JSON to this file, and do not print it.")]

_WIDTH = 130  # of tables that go to a file, so that no column is cut


@contextmanager
def measuring(to: Path | None, window: int) -> Iterator[tuple[Sandbox, Report]]:
    """Start the servers for the block, and print the report after it, also when it fails."""
    load_before = surroundings.load()
    with sandbox.start() as box:
        found = Report(surroundings.look(box, load_before=load_before, window=window))
        try:
            yield box, found
        finally:
            tables.show(found, console())
            if to is None:
                typer.echo(found.to_json())
            else:
                found.write(to)


def console() -> Console:
    """Return where tables go: the terminal, or a file that is wide enough for them."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH)
