"""The commands `relay slot ...`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import psycopg
import typer
from rich.table import Table

from outboxkit.settings import load
from relay.operating import outbox
from relay.operating.connection import connected
from relay.operating.display import console, plain, size
from relay.operating.options import Config, Json, Yes
from relay.operating.setup import creating, intending, steps, waiting
from relay.operating.setup.command import Timeout, say
from relay.operating.slot import statements
from relay.operating.slot.skip import skip
from relay.operating.slot.statements import Slot
from relay.settings import RelaySettings

app = typer.Typer(
    no_args_is_help=True, help="The replication slot: show, create, drop, skip. A relay that only polls has none."
)


@app.command()
def show(config: Config = None, *, as_json: Json = False) -> None:
    """Show the slot, who holds it, and how much WAL it retains. Exit code 1 if it does not exist."""
    settings = load(RelaySettings, config)
    with connected(settings, "slot") as connection:
        slot = statements.find(connection, settings.slot)
        window = statements.replay_slot(connection, settings.name)
    if as_json:
        shown = None if slot is None else asdict(slot) | {"replay_window": window and asdict(window)}
        typer.echo(json.dumps(shown, default=str))
    elif slot is not None:
        _print(slot, window)
    if slot is None:
        raise statements.missing(settings)


@app.command()
def create(config: Config = None, *, timeout: Timeout = waiting.TIMEOUT) -> None:
    """Create the slot if it is missing. Refused if events would be lost, or nobody would read it. Safe to repeat."""
    settings = load(RelaySettings, config)
    statements.require_a_reader(settings, "create a slot that it does not read, and that retains WAL")
    with (
        connected(settings, "slot") as connection,
        waiting.watched(connection, settings, timeout=timeout, say=say),
    ):
        refused = intending.require_wal(connection, settings)
        creating.take_turn(connection, settings.slot)
        typer.echo(steps.make_slot(connection, settings, accept_gap=False, refused=refused))


@app.command()
def drop(config: Config = None, *, yes: Yes = False) -> None:
    """Drop the slot. Postgres may then remove the WAL that it retained, with the unpublished events in it.

    Where the relay can poll the table, nothing is missed by it: what no slot has is polled. The slot that keeps WAL for
    replays is dropped too: without the relay's own it would keep WAL without a limit.
    """
    settings = load(RelaySettings, config)
    with connected(settings, "slot") as connection:
        slot = statements.find(connection, settings.slot)
        if slot is not None:
            statements.require_droppable(connection, settings)
        window = statements.replay_slot(connection, settings.name)
        found = [each for each in (slot, window) if each is not None]
        if not found:
            typer.echo(f"replication slot {settings.slot!r} does not exist")
            return
        for each in found:
            statements.require_free(each, remedy=statements.STOP_THEN_DROP)
        if not yes:
            typer.confirm(f"{'; '.join(_lost(slot, window))}. Drop {_named(found)}?", abort=True)
        polled = outbox.pollable(outbox.facts(connection, settings), settings) and _polls_on(connection, settings)
        for each in found:
            statements.drop(connection, each.name)
    typer.echo(f"{_named(found)} {'is' if len(found) == 1 else 'are'} dropped; {_then(settings, polled=polled)}")


app.command()(skip)


def _lost(slot: Slot | None, window: Slot | None) -> Iterator[str]:
    if slot is not None:
        yield f"{size(slot.lag_bytes or 0)} of WAL after {slot.confirmed_flush_lsn} are not confirmed"
    if window is not None:
        yield f"{size(window.retained_bytes or 0)} of WAL are kept for replays"


def _named(slots: Sequence[Slot]) -> str:
    return " and ".join(f"replication slot {slot.name!r}" for slot in slots)


def _polls_on(connection: psycopg.Connection[Any], settings: RelaySettings) -> bool:
    """Return whether it is known from where to poll."""
    stored = statements.facts(connection, settings).state
    return stored is not None and stored.snapshot is not None


def _then(settings: RelaySettings, *, polled: bool) -> str:
    if not polled:
        return "`relay setup` creates a new one, or says what to compare first"
    if settings.source == "polling":
        return "RELAY_SOURCE is polling, which needs none"
    return "the relay polls the table meanwhile, and makes a new one"


def _print(slot: Slot, window: Slot | None) -> None:
    table = Table(show_header=False, box=None)
    table.add_row("slot", f"{slot.name} ({slot.plugin} in database {slot.database})")
    table.add_row("held by", plain(slot.holder or "nobody"))
    table.add_row("confirmed", f"{slot.confirmed_flush_lsn}, {size(slot.lag_bytes or 0)} behind {slot.current_lsn}")
    retained = "none" if slot.restart_lsn is None else f"{size(slot.retained_bytes or 0)}, from {slot.restart_lsn}"
    table.add_row("retained WAL", retained)
    table.add_row("wal_status", slot.invalidation_reason or slot.wal_status or "none")
    left = "unlimited (max_slot_wal_keep_size)" if slot.safe_wal_size is None else size(slot.safe_wal_size)
    table.add_row("WAL until lost", "lost: `relay setup` says how to continue" if slot.lost else left)
    if window is not None:
        kept = f"{size(window.retained_bytes or 0)} of WAL by {window.name}, from {window.confirmed_flush_lsn}"
        table.add_row("for replays", f"{kept}{', lost' if window.lost else ''}")
    console().print(table)
