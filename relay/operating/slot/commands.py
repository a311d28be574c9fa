"""`relay slot`: the replication slot, looked at and changed by an operator. It asks before it gives anything up."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from rich.table import Table

from outboxkit.errors import ConfigurationProblem, Problem
from outboxkit.settings import load
from relay.core.errors import SlotMissing
from relay.core.position import Lsn
from relay.operating import setup as setup_steps
from relay.operating.display import console, plain, size
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings

app = typer.Typer(no_args_is_help=True, help="The replication slot: show, create, drop, skip.")

Config = Annotated[Path | None, typer.Option(help="A TOML file with settings; the environment wins.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

_LISTED = 20
_NAMED = 3
_READER_REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFile)


@app.command()
def show(config: Config = None, *, as_json: Json = False) -> None:
    """Show how the slot stands, who holds it, and what it keeps of the WAL. Exit code 1 if there is none."""
    settings = load(RelaySettings, config)
    with slots.connected(settings, "slot") as connection:
        slot = slots.find(connection, settings.slot)
    if as_json:
        typer.echo(json.dumps(None if slot is None else asdict(slot), default=str))
    elif slot is not None:
        _print(slot)
    if slot is None:
        raise SlotMissing(f"replication slot {settings.slot!r} does not exist", remedy="run `relay setup`")


@app.command()
def create(config: Config = None) -> None:
    """Create the slot if it is missing, and only where nothing can be missed by it. Safe to repeat."""
    settings = load(RelaySettings, config)
    with slots.connected(settings, "slot") as connection:
        typer.echo(setup_steps.make_slot(connection, settings, accept_gap=False))


@app.command()
def drop(config: Config = None, *, yes: Yes = False) -> None:
    """Drop the slot: Postgres may then remove the WAL that it kept, with every event in it that is unpublished."""
    settings = load(RelaySettings, config)
    with slots.connected(settings, "slot") as connection:
        slot = slots.find(connection, settings.slot)
        if slot is None:
            typer.echo(f"replication slot {settings.slot!r} is not there")
            return
        slots.require_free(slot, why="stop the relay, then drop its slot")
        if not yes:
            behind = f"{size(slot.lag_bytes or 0)} of WAL after {slot.confirmed_flush_lsn} are not confirmed"
            typer.confirm(f"{behind}. Drop replication slot {slot.name!r}?", abort=True)
        slots.drop(connection, settings.slot)
    typer.echo(f"replication slot {settings.slot!r} is dropped; `relay setup --accept-gap` makes a new one")


@app.command()
def skip(
    config: Config = None,
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="LSN", help="Where the slot shall stand; without it, nothing changes."),
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Step over transactions that Postgres cannot decode (54000), and park the outbox events that they wrote.

    Without --to it lists the transactions that come next, each with the LSN that steps over it.
    """
    settings = load(RelaySettings, config)
    target = None if to is None else _lsn(to)
    with slots.connected(settings, "slot") as connection:
        slot = slots.usable(connection, settings.slot)
        after = slots.confirmed(connection, slot, settings.name)
        if target is None:
            _list(connection, settings, slot, after, as_json=as_json)
            return
        _require_between(after, target, Lsn.parse(slot.current_lsn))
        slots.require_free(slot, why="stop every relay of this slot, then skip")
        transactions = _transactions(connection, slot, after, before=target)
        events = _events(connection, settings, transactions)
        if not as_json:
            _tell(transactions, events)
        if not yes:
            question = f"Move slot {slot.name!r} from {after} to {target}, and park {_count(events)}?"
            typer.confirm(question, abort=True, err=as_json)
        slots.skip(connection, settings, after=after, to=target, skipped=events or ())
    if as_json:
        typer.echo(_report(after, target, transactions, events))
    else:
        parked = f"; {_count(events)} parked: see `relay parked list`" if events else "; nothing was parked"
        typer.echo(f"slot {slot.name!r} stands at {target}{parked}")


def _lsn(text: str) -> Lsn:
    try:
        return Lsn.parse(text)
    except ValueError as error:
        raise ConfigurationProblem(str(error), remedy="`relay slot skip` lists the ones to choose from") from error


def _require_between(after: Lsn, to: Lsn, current: Lsn) -> None:
    if to <= after:
        raise Problem(
            f"everything up to {after} is confirmed: there is nothing to skip before {to}",
            remedy="`relay slot skip` lists what comes next",
        )
    if to > current:
        raise Problem(
            f"{to} lies ahead of the server's WAL, which ends at {current}",
            remedy="`relay slot skip` lists what comes next",
        )


def _transactions(
    connection: psycopg.Connection[Any], slot: slots.Slot, after: Lsn, *, before: Lsn
) -> list[slots.Transaction] | None:
    """Return the transactions up to `before`; None where the server has no plugin to tell them."""
    try:
        return slots.unconfirmed(connection, slot, after=after, before=before)
    except _READER_REFUSED:
        return None


def _events(
    connection: psycopg.Connection[Any], settings: RelaySettings, transactions: Sequence[slots.Transaction] | None
) -> list[slots.SkippedEvent] | None:
    """Return what `transactions` wrote to our own outbox; None where that cannot be told.

    A table of another layout does not say who wrote a row, and a logical message stands in the WAL alone.
    """
    if transactions is None or settings.message_prefix is not None or settings.outbox_table != slots.OUTBOX:
        return None
    return slots.events(connection, transactions)


def _coming(
    connection: psycopg.Connection[Any], settings: RelaySettings, slot: slots.Slot, after: Lsn
) -> tuple[list[slots.Transaction], list[slots.SkippedEvent] | None]:
    """Return the transactions that come next, and their events: those that wrote any, where that can be told."""
    limit = _LISTED
    while True:
        found = slots.unconfirmed(connection, slot, after=after, limit=limit)
        events = _events(connection, settings, found)
        if events is None:
            return found, None
        if events or len(found) < limit:
            wrote = {event.xid for event in events}
            return [each for each in found if each.xid in wrote][:_LISTED], events
        limit *= 10  # others wrote all of these


def _list(
    connection: psycopg.Connection[Any], settings: RelaySettings, slot: slots.Slot, after: Lsn, *, as_json: bool
) -> None:
    transactions, events = _coming(connection, settings, slot, after)
    if as_json:
        typer.echo(_report(after, None, transactions, events))
        return
    if not transactions:
        typer.echo(f"nothing that is left to send after {after} wrote to the outbox")
        return
    first = "the first of these" if events is not None else "one of these, which wrote to the outbox first"
    typer.echo(f"confirmed up to {after}; what cannot be decoded is {first}")
    typer.echo("what RabbitMQ does not take is named in the relay's log; --json tells every event of a transaction")
    _tell(transactions, events)
    if len(transactions) == _LISTED:
        typer.echo("and more after these")


def _tell(transactions: Sequence[slots.Transaction] | None, events: Sequence[slots.SkippedEvent] | None) -> None:
    if transactions is None:
        typer.echo(f"which transactions these are cannot be told: it takes {slots.READER}, and the right to use it")
        return
    if events is None:
        typer.echo("what they wrote cannot be told, and will not be parked: compare it with what consumers received")
    nothing, events = "none" if events is not None else "not told", events or ()
    found = {xid: list(group) for xid, group in groupby(sorted(events, key=_xid), key=_xid)}
    table = Table("transaction", "committed (UTC)", "commit LSN", "--to", "outbox events")
    for each in transactions:
        wrote = found.get(each.xid, [])
        names = [f"{event.id:.40} ({event.aggregate_type:.40} {event.aggregate_id:.40})" for event in wrote[:_NAMED]]
        names += [f"and {len(wrote) - _NAMED} more"] if len(wrote) > _NAMED else []
        at = f"{each.committed_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        table.add_row(str(each.xid), at, each.commit_lsn, each.end_lsn, plain("\n".join(names) or nothing))
    console().print(table)


def _count(events: Sequence[slots.SkippedEvent] | None) -> str:
    if events is None:
        return "nothing, since what they wrote cannot be told"
    return f"{len(events)} {'event' if len(events) == 1 else 'events'}"


def _xid(event: slots.SkippedEvent) -> int:
    return event.xid


def _report(
    after: Lsn,
    to: Lsn | None,
    transactions: Sequence[slots.Transaction] | None,
    events: Sequence[slots.SkippedEvent] | None,
) -> str:
    told = None if transactions is None else [asdict(each) for each in transactions]
    wrote = None if events is None else [asdict(each) for each in events]
    fields = {"after": str(after), "to": to and str(to), "transactions": told, "events": wrote}
    return json.dumps(fields, default=str)


def _print(slot: slots.Slot) -> None:
    table = Table(show_header=False, box=None)
    table.add_row("slot", f"{slot.name} ({slot.plugin} in database {slot.database})")
    table.add_row("held by", plain(slot.holder or "nobody"))
    table.add_row("confirmed", f"{slot.confirmed_flush_lsn}, {size(slot.lag_bytes or 0)} behind {slot.current_lsn}")
    kept = "nothing" if slot.restart_lsn is None else f"{slot.restart_lsn}, {size(slot.retained_bytes or 0)}"
    table.add_row("keeps WAL from", kept)
    table.add_row("wal_status", slot.invalidation_reason or slot.wal_status or "none")
    left = "no limit (max_slot_wal_keep_size)" if slot.safe_wal_size is None else size(slot.safe_wal_size)
    table.add_row("until it is lost", "it is lost: `relay setup` says how to go on" if slot.lost else left)
    console().print(table)
