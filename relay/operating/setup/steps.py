"""The steps of `relay setup`: each creates what is missing. Safe to repeat, and to run twice at the same time.

A checkpoint without its slot means that the slot was lost: no slot has the events committed since. A new slot would
skip them silently, so it is created only with `accept_gap`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.rows import class_row

from outboxkit import sql
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import EXCHANGE_TYPE, declare_exchange
from outboxkit.sql import apply as schema
from relay.core.errors import SlotMissing
from relay.core.position import Lsn
from relay.operating import outbox
from relay.operating.connection import connected
from relay.operating.setup import publication
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources.layout import NATIVE
from relay.sources.wal.decoders import pgoutput, wal2json
from relay.storage.facts import Facts, TableFacts
from relay.storage.refusals import check_wal_level


def setup(settings: RelaySettings, *, accept_gap: bool) -> Iterator[str]:
    """Create what is missing, and yield a line for each step; raises a Problem at the first step that fails."""
    with connected(settings, "setup") as connection:
        _require_logical(connection)
        applied = schema.apply(connection)
        yield f"schema: applied {', '.join(file.name for file in applied)}" if applied else "schema: up to date"
        yield make_slot(connection, settings, accept_gap=accept_gap)
    asyncio.run(_exchange(settings))
    yield f"exchange: {settings.exchange!r} ({EXCHANGE_TYPE}, durable) exists"


def plan(settings: RelaySettings) -> Iterator[str]:
    """Yield the SQL that `setup` would run, and change nothing."""
    with connected(settings, "setup") as connection:
        _require_logical(connection)
        new = bool(schema.pending(connection))
        yield from schema.script(connection)
        written = psycopg.ClientCursor(connection).mogrify
        names = {"slot": settings.slot, "name": settings.name, "outboxes": settings.outboxes}
        slot = slots.find(connection, settings.slot)
        if slot is not None and slot.lost:
            yield f"{written(sql.query('slot_drop'), names)};"
        if slot is None or slot.lost:
            found = outbox.facts(connection, settings)
            plugin = outbox.preferred(found, settings)
            if not (new and settings.outbox_table == NATIVE.name):
                outbox.require(found, settings, plugin)
            if plugin == pgoutput.PLUGIN:
                yield f"{publication.statement(settings).as_string(connection)};"
            yield f"{written(sql.query('slot_create'), {**names, 'plugin': plugin})};"
        if new or (slot is not None and slot.lost) or not slots.checkpoint(connection, settings.name):
            yield f"{written(sql.query('checkpoint_reset'), names)};"


def _require_logical(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute(sql.query("wal_level")).fetchone()
    assert row is not None  # noqa: S101 - the query always returns one row
    check_wal_level(row[0])


def make_slot(connection: psycopg.Connection[Any], settings: RelaySettings, *, accept_gap: bool) -> str:
    """Create the slot and the checkpoint if missing, and return a line; raises SlotMissing for a lost slot."""
    parameters = {"slot": settings.slot, "name": settings.name, "table": settings.outbox_table}
    facts = connection.cursor(row_factory=class_row(Facts)).execute(sql.query("source_facts"), parameters).fetchone()
    assert facts is not None  # noqa: S101 - the query always returns one row
    lost = facts.slot is not None and facts.wal_status == "lost"
    if facts.checkpoint_lsn is not None and not accept_gap and (facts.slot is None or lost):
        raise SlotMissing(
            f"replication slot {facts.checkpoint_slot!r} is gone; events were published up to {facts.checkpoint_lsn}, "
            "and no slot has what was committed since",
            remedy=f"if RELAY_SLOT was changed, set it back; otherwise compare {_record(settings)} with what consumers "
            "received, then create a new slot with `relay setup --accept-gap`",
        )
    new = facts.slot is None or lost
    found = outbox.facts(connection, settings)
    plugin = outbox.preferred(found, settings) if new else str(facts.plugin)
    outbox.require(found, settings, plugin)
    if lost:
        connection.execute(sql.query("slot_drop"), parameters)
    republished = not new and plugin == pgoutput.PLUGIN and publication.create(connection, settings)
    if new:
        plugin = _create(connection, settings, found, plugin)
    start = connection.execute(sql.query("slot_position"), {"slot": settings.slot}).fetchone()
    assert start is not None  # noqa: S101 - the slot exists by now
    if facts.checkpoint_lsn is None or accept_gap:
        connection.execute(sql.query("checkpoint_reset"), {**parameters, "outboxes": settings.outboxes})
    state = "created" if new else "exists"
    line = f"slot: {settings.slot!r} ({plugin}) {state}, from {Lsn.parse(start[0])}"
    return f"{line}; {publication.CREATED_AGAIN}" if republished else line


def _record(settings: RelaySettings) -> str:
    """Name where the events are stored besides the WAL."""
    return "the application's own data" if settings.message_prefix else settings.outbox_table


def _create(connection: psycopg.Connection[Any], settings: RelaySettings, found: TableFacts, plugin: str) -> str:
    """Create the slot with `plugin`; with RELAY_PLUGIN=auto, pgoutput if the server does not have it."""
    if plugin == wal2json.PLUGIN:
        try:
            return _create_slot(connection, settings.slot, wal2json.PLUGIN)
        except (psycopg.errors.UndefinedFile, psycopg.errors.InsufficientPrivilege):
            if settings.plugin != "auto":
                raise
            outbox.require(found, settings, pgoutput.PLUGIN)
    # First the publication, then the slot: pgoutput reads the publication as it was at each change.
    publication.create(connection, settings)
    return _create_slot(connection, settings.slot, pgoutput.PLUGIN)


def _create_slot(connection: psycopg.Connection[Any], slot: str, plugin: str) -> str:
    with suppress(psycopg.errors.DuplicateObject):  # another setup, running at the same time
        connection.execute(sql.query("slot_create"), {"slot": slot, "plugin": plugin})
    return plugin


async def _exchange(settings: RelaySettings) -> None:
    connection = await Connection.open(
        settings.amqp_url.get_secret_value(), name=f"{settings.name} setup", tls=settings.tls()
    )
    try:
        await declare_exchange(connection, await connection.channel(), settings.exchange)
    finally:
        await connection.close()
