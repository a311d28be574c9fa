"""The command `relay slot skip`: without --to it lists transactions; with it, it parks their events and skips them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC
from itertools import groupby
from typing import Annotated, Any

import psycopg
import typer
from rich.table import Table

from outboxkit.errors import ConfigurationProblem, Problem
from outboxkit.settings import load
from relay.core.position import Lsn
from relay.operating.connection import connected
from relay.operating.display import console, plain
from relay.operating.options import Config, Json, Yes
from relay.operating.slot import statements
from relay.operating.slot.statements import READER, SkippedEvent, Slot, Transaction
from relay.settings import RelaySettings

_LISTED = 20
_NAMED = 3
_READER_REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFile)
_SEE_LIST = "`relay slot skip` lists the next transactions, each with the LSN that skips it"


def skip(
    config: Config = None,
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="LSN", help="Advance the slot to this position. Without it, nothing changes."),
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Skip transactions that Postgres cannot decode (54000) or RabbitMQ refuses, and park their outbox events.

    Without --to it lists the next transactions, each with the LSN that skips it.
    """
    settings = load(RelaySettings, config)
    target = None if to is None else _lsn(to)
    with connected(settings, "slot") as connection:
        slot = statements.usable(connection, settings.slot)
        after = statements.confirmed(connection, slot, settings.name)
        if target is None:
            _list(connection, settings, slot, after, as_json=as_json)
            return
        _require_between(after, target, Lsn.parse(slot.current_lsn))
        statements.require_free(slot, remedy=statements.STOP_THEN_SKIP)
        transactions = _transactions(connection, slot, after, before=target)
        events = _events(connection, settings, transactions)
        if not as_json:
            _print(transactions, events)
        if not yes:
            question = f"Advance slot {slot.name!r} from {after} to {target}, and park {_count(events)}?"
            typer.confirm(question, abort=True, err=as_json)
        statements.skip(connection, settings, after=after, to=target, skipped=events or ())
    if as_json:
        typer.echo(_report(after, target, transactions, events))
    else:
        parked = f"; {_count(events)} parked: see `relay parked list`" if events else "; nothing was parked"
        typer.echo(f"slot {slot.name!r} is at {target}{parked}")


def _lsn(text: str) -> Lsn:
    try:
        return Lsn.parse(text)
    except ValueError as error:
        raise ConfigurationProblem(str(error), remedy=_SEE_LIST) from error


def _require_between(after: Lsn, to: Lsn, current: Lsn) -> None:
    if to <= after:
        raise Problem(f"everything up to {after} is confirmed: there is nothing to skip before {to}", remedy=_SEE_LIST)
    if to > current:
        raise Problem(f"{to} is ahead of the server's WAL, which ends at {current}", remedy=_SEE_LIST)


def _transactions(
    connection: psycopg.Connection[Any], slot: Slot, after: Lsn, *, before: Lsn
) -> list[Transaction] | None:
    """Return the transactions up to `before`; None if the server does not have, or does not allow, the plugin."""
    try:
        return statements.unconfirmed(connection, slot, after=after, before=before)
    except _READER_REFUSED:
        return None


def _events(
    connection: psycopg.Connection[Any], settings: RelaySettings, transactions: Sequence[Transaction] | None
) -> list[SkippedEvent] | None:
    """Return the outbox events of `transactions`; None if they are unknown.

    Only our own table stores the transaction that wrote a row. A logical message is stored in the WAL alone.
    """
    if transactions is None or settings.message_prefix is not None or settings.outbox_table != statements.OUTBOX:
        return None
    return statements.events(connection, transactions)


def _next(
    connection: psycopg.Connection[Any], settings: RelaySettings, slot: Slot, after: Lsn
) -> tuple[list[Transaction], list[SkippedEvent] | None]:
    """Return the next transactions and their events. Those without events are left out, if events are known."""
    limit = _LISTED
    while True:
        found = statements.unconfirmed(connection, slot, after=after, limit=limit)
        events = _events(connection, settings, found)
        if events is None:
            return found, None
        if events or len(found) < limit:
            wrote = {event.xid for event in events}
            return [each for each in found if each.xid in wrote][:_LISTED], events
        limit *= 10  # none of these wrote to the outbox


def _list(
    connection: psycopg.Connection[Any], settings: RelaySettings, slot: Slot, after: Lsn, *, as_json: bool
) -> None:
    transactions, events = _next(connection, settings, slot, after)
    if as_json:
        typer.echo(_report(after, None, transactions, events))
        return
    if not transactions:
        typer.echo(f"no transaction after {after} wrote to the outbox")
        return
    first = "the first of these" if events is not None else "the first of these that wrote to the outbox"
    typer.echo(f"confirmed up to {after}; if Postgres cannot decode a row, it is in {first}")
    typer.echo("if RabbitMQ refuses a message, the relay's log names it; --json lists all events of each transaction")
    _print(transactions, events)
    if len(transactions) == _LISTED:
        typer.echo("there may be more transactions after these")


def _print(transactions: Sequence[Transaction] | None, events: Sequence[SkippedEvent] | None) -> None:
    if transactions is None:
        typer.echo(f"these transactions cannot be listed: this takes {READER}, and the right to use it")
        return
    if events is None:
        typer.echo("their events are unknown and will not be parked: compare your data with what consumers received")
    nothing, events = "none" if events is not None else "unknown", events or ()
    found = {xid: list(group) for xid, group in groupby(sorted(events, key=_xid), key=_xid)}
    table = Table("transaction", "committed (UTC)", "commit LSN", "--to", "outbox events")
    for each in transactions:
        wrote = found.get(each.xid, [])
        names = [f"{event.id:.40} ({event.aggregate_type:.40} {event.aggregate_id:.40})" for event in wrote[:_NAMED]]
        names += [f"and {len(wrote) - _NAMED} more"] if len(wrote) > _NAMED else []
        at = f"{each.committed_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        table.add_row(str(each.xid), at, each.commit_lsn, each.end_lsn, plain("\n".join(names) or nothing))
    console().print(table)


def _count(events: Sequence[SkippedEvent] | None) -> str:
    if events is None:
        return "nothing, because the events are unknown"
    return f"{len(events)} {'event' if len(events) == 1 else 'events'}"


def _xid(event: SkippedEvent) -> int:
    return event.xid


def _report(
    after: Lsn, to: Lsn | None, transactions: Sequence[Transaction] | None, events: Sequence[SkippedEvent] | None
) -> str:
    fields = {
        "after": str(after),
        "to": to and str(to),
        "transactions": None if transactions is None else [asdict(each) for each in transactions],
        "events": None if events is None else [asdict(each) for each in events],
    }
    return json.dumps(fields, default=str)
