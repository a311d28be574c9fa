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
from relay.core.errors import SourceRefused
from relay.core.position import Lsn
from relay.operating.connection import connected
from relay.operating.display import console, plain
from relay.operating.options import Config, Json, Yes
from relay.operating.slot import contents, reading, statements
from relay.operating.slot.contents import Contents
from relay.operating.slot.statements import READER, SkippedEvent, Slot, Transaction
from relay.settings import RelaySettings
from relay.sources.wal.decoders.pgoutput import PLUGIN
from relay.sources.wal.starting import start_position
from relay.storage.facts import Facts

_SETTLED = "everything before it was confirmed or parked already"
_UNKNOWN = Contents([], "nowhere")
_INCOMPLETE = {
    "table": "the stream cannot be decoded: rows that are gone from outbox.event are not listed and will not be parked",
    "nowhere": "their events are unknown and will not be parked: compare your data with what consumers received",
}
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
    if settings.source == "polling":
        raise SourceRefused(
            "RELAY_SOURCE is polling: the relay reads no slot, so no transaction of a slot can be skipped",
            remedy="to take an event out of the way that RabbitMQ refuses: stop the relay, keep what its row says, "
            "delete the row from the outbox table, and start the relay again",
        )
    target = None if to is None else _lsn(to)
    with connected(settings, "slot") as connection:
        slot = statements.usable(connection, settings)
        facts = statements.require_ours(connection, settings)
        after = start_position(facts, settings.owner, None)
        if target is None:
            _list(connection, settings, slot, after, as_json=as_json)
            return
        statements.require_free(slot, remedy=statements.STOP_THEN_SKIP)
        if Lsn.parse(slot.confirmed_flush_lsn or "0/0") < target <= after:
            statements.advance(connection, slot.name, target)
            typer.echo(
                _report(after, target, [], None) if as_json else f"slot {slot.name!r} is at {target}: {_SETTLED}"
            )
            return
        _require_between(after, target, Lsn.parse(slot.current_lsn))
        _skip(connection, settings, slot, facts, after, target, yes=yes, as_json=as_json)


def _skip(  # noqa: PLR0913, PLR0917 - what the command was asked
    connection: psycopg.Connection[Any],
    settings: RelaySettings,
    slot: Slot,
    facts: Facts,
    after: Lsn,
    to: Lsn,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    transactions = _transactions(connection, settings, slot, after, before=to)
    found = _UNKNOWN
    if transactions is not None:
        found = contents.contents(connection, settings, slot, transactions, after=after)
    if not as_json:
        _print(transactions, found)
    if not yes:
        question = f"Advance slot {slot.name!r} from {after} to {to}, and park {_count(found)}?"
        typer.confirm(question, abort=True, err=as_json)

    def park() -> None:
        detail = f"`relay slot skip --to {to}` skipped its transaction"
        contents.park(connection, settings, slot, transactions or (), found, after=after, detail=detail)

    statements.skip(connection, settings, facts, to=to, skipped=transactions or (), park=park)
    if as_json:
        typer.echo(_report(after, to, transactions, found))
    else:
        parked = f"; {_count(found)} parked: see `relay parked list`" if found.parkable else "; nothing was parked"
        typer.echo(f"slot {slot.name!r} is at {to}{parked}")


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
    connection: psycopg.Connection[Any], settings: RelaySettings, slot: Slot, after: Lsn, *, before: Lsn
) -> list[Transaction] | None:
    """Return the transactions up to `before`; None if no plugin that the server has and allows shows them."""
    try:
        return statements.unconfirmed(connection, slot, after=after, before=before)
    except _READER_REFUSED:
        return _readable(connection, settings, slot, after, before=before)


def _readable(
    connection: psycopg.Connection[Any], settings: RelaySettings, slot: Slot, after: Lsn, *, before: Lsn | None
) -> list[Transaction] | None:
    """Return the transactions that the slot's own plugin shows; None if that is the one that was refused, or fails."""
    if slot.plugin != PLUGIN:
        return None
    try:
        return reading.transactions(connection, settings, slot, after=after, before=before)
    except psycopg.Error:
        if connection.closed:
            raise
        return None


def _unconfirmed(
    connection: psycopg.Connection[Any], settings: RelaySettings, slot: Slot, after: Lsn, *, limit: int
) -> list[Transaction]:
    """Return the next transactions; raises psycopg's error if no plugin shows them."""
    try:
        return statements.unconfirmed(connection, slot, after=after, limit=limit)
    except _READER_REFUSED:
        found = _readable(connection, settings, slot, after, before=None)
        if found is None:
            raise
        return found[:limit]


def _next(
    connection: psycopg.Connection[Any], settings: RelaySettings, slot: Slot, after: Lsn
) -> tuple[list[Transaction], Contents]:
    """Return the next transactions and their events. Those without events are left out, if events are known."""
    limit = _LISTED
    while True:
        transactions = _unconfirmed(connection, settings, slot, after, limit=limit)
        found = contents.contents(connection, settings, slot, transactions, after=after)
        if found.source == "nowhere":
            return transactions, found
        if found.events or len(transactions) < limit:
            wrote = {event.xid for event in found.events}
            return [each for each in transactions if each.xid in wrote][:_LISTED], found
        limit *= 10  # none of these wrote to the outbox


def _list(
    connection: psycopg.Connection[Any], settings: RelaySettings, slot: Slot, after: Lsn, *, as_json: bool
) -> None:
    transactions, found = _next(connection, settings, slot, after)
    if as_json:
        typer.echo(_report(after, None, transactions, found))
        return
    if not transactions:
        typer.echo(f"no transaction after {after} wrote to the outbox")
        return
    first = "the first of these" if found.source != "nowhere" else "the first of these that wrote to the outbox"
    typer.echo(f"confirmed up to {after}; if Postgres cannot decode a row, it is in {first}")
    typer.echo("if RabbitMQ refuses a message, the relay's log names it; --json lists all events of each transaction")
    _print(transactions, found)
    if len(transactions) == _LISTED:
        typer.echo("there may be more transactions after these")


def _print(transactions: Sequence[Transaction] | None, found: Contents) -> None:
    if transactions is None:
        typer.echo(f"these transactions cannot be listed: this takes {READER}, and the right to use it")
        return
    if found.source in _INCOMPLETE:
        typer.echo(_INCOMPLETE[found.source])
    nothing = "none" if found.source == "stream" else "unknown" if found.source == "nowhere" else "none is left"
    wrote_by = {xid: list(group) for xid, group in groupby(sorted(found.events, key=_xid), key=_xid)}
    table = Table("transaction", "committed (UTC)", "commit LSN", "--to", "outbox events")
    for each in transactions:
        wrote = wrote_by.get(each.xid, [])
        names = [_name(event) for event in wrote[:_NAMED]]
        names += [f"and {len(wrote) - _NAMED} more"] if len(wrote) > _NAMED else []
        at = f"{each.committed_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        table.add_row(str(each.xid), at, each.commit_lsn, each.end_lsn, plain("\n".join(names) or nothing))
    console().print(table)


def _name(event: SkippedEvent) -> str:
    if event.id is None:
        return f"cannot be read, and will not be parked: {event.problem}"
    return f"{event.id:.40} ({event.aggregate_type:.40} {event.aggregate_id:.40})"


def _count(found: Contents) -> str:
    count, unread = len(found.parkable), len(found.events) - len(found.parkable)
    if found.source == "nowhere" and not count:
        return "nothing, because the events are unknown"
    text = f"{count} {'event' if count == 1 else 'events'}"
    return f"{text}, but not {unread} that cannot be read" if unread else text


def _xid(event: SkippedEvent) -> int:
    return event.xid


def _report(after: Lsn, to: Lsn | None, transactions: Sequence[Transaction] | None, found: Contents | None) -> str:
    unknown = found is None or (found.source == "nowhere" and not found.events)
    fields = {
        "after": str(after),
        "to": to and str(to),
        "transactions": None if transactions is None else [asdict(each) for each in transactions],
        "events": None if found is None or unknown else [asdict(each) for each in found.events],
        "read_from": None if found is None else found.source,
    }
    return json.dumps(fields, default=str)
