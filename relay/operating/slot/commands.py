"""The commands `relay slot ...`."""

import json
from dataclasses import asdict

import typer
from rich.table import Table

from outboxkit.settings import load
from relay.operating.connection import connected
from relay.operating.display import console, plain, size
from relay.operating.options import Config, Json, Yes
from relay.operating.setup import creating, steps, waiting
from relay.operating.setup.command import Timeout, say
from relay.operating.slot import statements
from relay.operating.slot.skip import skip
from relay.operating.slot.statements import Slot
from relay.settings import RelaySettings

app = typer.Typer(no_args_is_help=True, help="The replication slot: show, create, drop, skip.")


@app.command()
def show(config: Config = None, *, as_json: Json = False) -> None:
    """Show the slot, who holds it, and how much WAL it retains. Exit code 1 if it does not exist."""
    settings = load(RelaySettings, config)
    with connected(settings, "slot") as connection:
        slot = statements.find(connection, settings.slot)
    if as_json:
        typer.echo(json.dumps(None if slot is None else asdict(slot), default=str))
    elif slot is not None:
        _print(slot)
    if slot is None:
        raise statements.missing(settings.slot)


@app.command()
def create(config: Config = None, *, timeout: Timeout = waiting.TIMEOUT) -> None:
    """Create the slot if it is missing. Refused if events would be lost. Safe to repeat."""
    settings = load(RelaySettings, config)
    with (
        connected(settings, "slot") as connection,
        waiting.watched(connection, settings, timeout=timeout, say=say),
    ):
        creating.take_turn(connection, settings.slot)
        typer.echo(steps.make_slot(connection, settings, accept_gap=False))


@app.command()
def drop(config: Config = None, *, yes: Yes = False) -> None:
    """Drop the slot. Postgres may then remove the WAL that it retained, with the unpublished events in it."""
    settings = load(RelaySettings, config)
    with connected(settings, "slot") as connection:
        slot = statements.find(connection, settings.slot)
        if slot is not None:
            statements.require_droppable(connection, settings)
        if slot is None:
            typer.echo(f"replication slot {settings.slot!r} does not exist")
            return
        statements.require_free(slot, remedy=statements.STOP_THEN_DROP)
        if not yes:
            behind = f"{size(slot.lag_bytes or 0)} of WAL after {slot.confirmed_flush_lsn} are not confirmed"
            typer.confirm(f"{behind}. Drop replication slot {slot.name!r}?", abort=True)
        statements.drop(connection, settings.slot)
    typer.echo(f"replication slot {settings.slot!r} is dropped; `relay setup --accept-gap` creates a new one")


app.command()(skip)


def _print(slot: Slot) -> None:
    table = Table(show_header=False, box=None)
    table.add_row("slot", f"{slot.name} ({slot.plugin} in database {slot.database})")
    table.add_row("held by", plain(slot.holder or "nobody"))
    table.add_row("confirmed", f"{slot.confirmed_flush_lsn}, {size(slot.lag_bytes or 0)} behind {slot.current_lsn}")
    retained = "none" if slot.restart_lsn is None else f"{size(slot.retained_bytes or 0)}, from {slot.restart_lsn}"
    table.add_row("retained WAL", retained)
    table.add_row("wal_status", slot.invalidation_reason or slot.wal_status or "none")
    left = "unlimited (max_slot_wal_keep_size)" if slot.safe_wal_size is None else size(slot.safe_wal_size)
    table.add_row("WAL until lost", "lost: `relay setup` says how to continue" if slot.lost else left)
    console().print(table)
