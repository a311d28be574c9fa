"""The command `relay setup`."""

from typing import Annotated

import typer

from outboxkit.settings import load
from relay.operating.options import Config
from relay.operating.setup import steps, waiting
from relay.settings import RelaySettings

Timeout = Annotated[
    float, typer.Option("--timeout", min=0, help="Seconds to wait for other transactions, which hold up a new slot.")
]


def say(line: str) -> None:
    """Print a line about what is going on, apart from the output."""
    typer.echo(line, err=True)


def setup(
    config: Config = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the SQL that would run. Change nothing.")] = False,
    accept_gap: Annotated[
        bool,
        typer.Option(
            "--accept-gap",
            help="The slot was lost: create a new one. Events committed since the stored position are not published.",
        ),
    ] = False,
    timeout: Timeout = waiting.TIMEOUT,
) -> None:
    """Create the schema, the replication slot and the exchange, each if it is missing. Safe to repeat."""
    settings = load(RelaySettings, config)
    done = steps.setup(settings, accept_gap=accept_gap, timeout=timeout, say=say)
    for line in steps.plan(settings, accept_gap=accept_gap) if dry_run else done:
        typer.echo(line)
