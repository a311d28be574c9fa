"""The SQL that `relay setup` would run, for `--dry-run`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from outboxkit import sql
from outboxkit.sql import apply as schema
from relay.core.errors import WalNotLogical, WalRefused
from relay.operating import outbox
from relay.operating.connection import connected
from relay.operating.setup import beginning, creating, extra, intending, publication, tx_column, upgrade
from relay.operating.setup.beginning import From
from relay.operating.setup.dividing import taking_over
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources.layout import NATIVE
from relay.sources.polling.statements import has_tx
from relay.sources.wal.decoders import pgoutput
from relay.storage.facts import TableFacts


@dataclass(frozen=True, slots=True)
class _Table:
    """The outbox table before and after what setup does to it."""

    now: TableFacts
    then: TableFacts
    own: bool
    """Whether the schema that is to be applied makes it."""


def plan(
    settings: RelaySettings,
    *,
    accept_gap: bool,
    extras: extra.Extras = extra.NOTHING,
    start: From = "now",
    take_over: str | None = None,
) -> Iterator[str]:
    """Yield the SQL that `setup` would run, and change nothing; raises what `setup` would raise."""
    with connected(settings, "setup") as connection:
        refused = intending.require_wal(connection, settings, extras)
        now = outbox.facts(connection, settings)
        own = bool(schema.lacking(connection)) and settings.table == NATIVE.name
        table = _Table(now, tx_column.added(now) if own else extra.then(now, extras), own)
        first = list(extra.plan(connection, settings, extras))
        older = bool(schema.lacking(connection))
        over = "" if take_over is None else f"--take-over '{take_over}' "
        upgraded = list(upgrade.plan(connection, settings)) if extras.accept_upgrade and not older else []
        if upgraded or (extras.accept_upgrade and older):
            again = f"{'--accept-upgrade ' if older else ''}{over}"
            yield from _first(connection, [*first, *upgraded], again)
            return
        if take_over is not None:
            rest = [] if older else list(taking_over.plan(connection, settings, take_over))
            yield from _first(connection, [*first, *rest], over if older else "")
            return
        if settings.source == "polling":
            rest = list(_position(connection, settings, table, accept_gap=accept_gap, start=start))
        else:
            rest = list(_slot(connection, settings, table, refused, accept_gap=accept_gap, start=start))
        yield from schema.script(connection)
        yield from first
        yield from rest


def _first(connection: psycopg.Connection[Any], statements: list[str], again: str) -> Iterator[str]:
    """Yield what is done first, and with which options to ask for the rest: it depends on what this leaves."""
    yield from schema.script(connection)
    yield from statements
    yield f"-- then what `relay setup {again}--dry-run` prints when this is done"


def _position(
    connection: psycopg.Connection[Any], settings: RelaySettings, table: _Table, *, accept_gap: bool, start: From
) -> Iterator[str]:
    if not table.own:
        outbox.require_pollable(table.then, settings)
    known = intending.known(connection, settings)
    if schema.lacking(connection):
        if known and accept_gap:
            yield "-- then what `relay setup --accept-gap --dry-run` prints when this is done"
    elif intending.replaces(connection, settings, slots.facts(connection, settings), accept_gap=accept_gap):
        yield from beginning.plan_replacement(connection, settings, table.now, table.then, vacant=not known)
        return
    if not known:
        yield from beginning.plan(connection, settings, table.now, table.then, start, slot=None)


def _slot(  # noqa: PLR0913 - what it is decided by
    connection: psycopg.Connection[Any],
    settings: RelaySettings,
    table: _Table,
    refused: WalNotLogical | None,
    *,
    accept_gap: bool,
    start: From,
) -> Iterator[str]:
    facts = None if schema.lacking(connection) else slots.facts(connection, settings)
    try:
        if refused is not None:
            raise refused
        intended = intending.intend(
            connection, settings, facts, table.then, own=table.own, accept_gap=accept_gap, start=start
        )
    except WalRefused as problem:
        if not intending.goes_on(settings, facts, table.then):
            raise
        yield f"-- {intending.polls(settings, problem)}"
        return
    written = psycopg.ClientCursor(connection).mogrify
    names = {"slot": settings.slot, "name": settings.name, "outboxes": settings.outboxes}
    if intended.slot == "drop and create":
        yield f"{written(sql.query('slot_drop'), names)};"
    if intended.begins:
        yield from beginning.plan(connection, settings, table.now, table.then, start, slot=settings.slot)
    if intended.slot != "keep":
        if intended.plugin == pgoutput.PLUGIN:
            yield f"{publication.statement(settings).as_string(connection)};"
        yield f"{written(creating.statement(settings), {**names, 'plugin': intended.plugin})};"
    if intended.set_position:
        if intended.pollable and has_tx(table.then) and table.now.kind is not None:
            yield from beginning.numbering(connection, settings, table.now)
        yield f"{written(sql.query('checkpoint_reset'), names)};"
