"""The commands of the relay. They parse, call, and print; nothing else."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from outboxkit import commands
from outboxkit.settings import load, reloading
from relay.operating import operations
from relay.operating import setup as setup_steps
from relay.operating.parked import commands as parked_commands
from relay.operating.slot import commands as slot_commands
from relay.settings import RelaySettings

app = typer.Typer(
    name="relay",
    help="Publishes the events of a Postgres outbox to RabbitMQ, from the WAL. Settings: RELAY_* variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.callback()(commands.options)

app.add_typer(parked_commands.app, name="parked")
app.add_typer(slot_commands.app, name="slot")
operations.register(app)

Config = Annotated[Path | None, typer.Option(help="A TOML file with settings; the environment wins.")]


@app.command()
def setup(
    config: Config = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the SQL that would run, and change nothing.")
    ] = False,
    accept_gap: Annotated[
        bool,
        typer.Option("--accept-gap", help="The slot was lost: go on from a new one, without what was committed since."),
    ] = False,
) -> None:
    """Create the schema, the replication slot and the exchange, each where it is missing. Safe to repeat."""
    settings = load(RelaySettings, config)
    steps = setup_steps.plan(settings) if dry_run else setup_steps.setup(settings, accept_gap=accept_gap)
    for line in steps:
        typer.echo(line)


@app.command()
def run(
    config: Config = None,
    *,
    stdout: Annotated[
        bool,
        typer.Option("--stdout", help="Print messages as JSON lines instead of publishing; the slot does not move."),
    ] = False,
) -> None:
    """Relay events until SIGTERM or SIGINT; then drain and exit 0."""
    # A third of the time to start, which no other command has to wait for.
    from outboxkit import logs  # noqa: PLC0415 - the same
    from relay import app as relay  # noqa: PLC0415 - the HTTP server, the logs and the engine

    logs.configure()
    try:
        asyncio.run(relay.run(reloading(RelaySettings, config), stdout=stdout))
    except BrokenPipeError:
        # The reader of --stdout has gone (`| head`): there is nobody to tell, and nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Run as the command `relay`."""
    commands.run(app, name="relay")
