"""The command `relay setup`."""

from typing import Annotated

import typer

from outboxkit.settings import load
from relay.operating.options import Config
from relay.operating.setup import steps
from relay.settings import RelaySettings


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
) -> None:
    """Create the schema, the replication slot and the exchange, each if it is missing. Safe to repeat."""
    settings = load(RelaySettings, config)
    for line in steps.plan(settings) if dry_run else steps.setup(settings, accept_gap=accept_gap):
        typer.echo(line)
