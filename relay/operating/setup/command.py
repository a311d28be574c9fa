"""The command `relay setup`."""

from typing import Annotated

import typer

from outboxkit.settings import load
from relay.operating.options import Config
from relay.operating.setup import planning, steps, waiting
from relay.operating.setup.beginning import From
from relay.operating.setup.extra import Extras
from relay.operating.topology import option
from relay.settings import RelaySettings

Timeout = Annotated[
    float, typer.Option("--timeout", min=0, help="Seconds to wait for other transactions, which hold up a new slot.")
]


def say(line: str) -> None:
    """Print a line about what is going on, apart from the output."""
    typer.echo(line, err=True)


def setup(  # noqa: PLR0913 - the options of a command
    config: Config = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the SQL that would run. Change nothing.")] = False,
    accept_gap: Annotated[
        bool,
        typer.Option(
            "--accept-gap",
            help="The slot was lost, or the position is of another server: go on from a new slot, or, with "
            "RELAY_SOURCE=polling, from now. Events committed since the stored position are not published.",
        ),
    ] = False,
    add_tx_column: Annotated[
        bool,
        typer.Option("--add-tx-column", help="Add the column `tx` to the outbox table, so that it can be polled."),
    ] = False,
    accept_upgrade: Annotated[
        bool,
        typer.Option(
            "--accept-upgrade",
            help="The server was upgraded by pg_upgrade: go on from the stored snapshot.",
        ),
    ] = False,
    start: Annotated[
        From,
        typer.Option(
            "--from",
            help="Where a relay begins that has no position. now: with what commits after setup. start: with all that "
            "is in the table, also from before its column tx.",
        ),
    ] = "now",
    take_over: Annotated[
        str | None,
        typer.Option(
            "--take-over",
            metavar="RELAY",
            help="Take the place of this relay, and of those that share its outbox: all of them have stopped. So an "
            "outbox is divided into partitions, divided otherwise, or made whole again.",
        ),
    ] = None,
    notify: Annotated[
        bool,
        typer.Option("--notify", help="Make the trigger that wakes a polling relay (RELAY_POLL_NOTIFY)."),
    ] = False,
    topology: option.Option = None,
    timeout: Timeout = waiting.TIMEOUT,
) -> None:
    """Create the schema, the replication slot and the exchange, each if it is missing. Safe to repeat.

    With RELAY_PARTITION, run it for each relay of the outbox: all partitions begin where the first of them begins.
    """
    settings = load(RelaySettings, config)
    queues = option.read(topology, settings)
    extras = Extras(add_tx_column=add_tx_column, notify=notify, accept_upgrade=accept_upgrade)
    if dry_run:
        lines = planning.plan(settings, accept_gap=accept_gap, extras=extras, start=start, take_over=take_over)
    else:
        lines = steps.setup(
            settings,
            accept_gap=accept_gap,
            extras=extras,
            start=start,
            take_over=take_over,
            topology=queues,
            timeout=timeout,
            say=say,
        )
    for line in lines:
        typer.echo(line)
