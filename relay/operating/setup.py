"""`relay setup`: schema, slot, checkpoint and exchange, each made if it is missing.

It is safe to repeat and to run twice at once.

A slot that is missing although a checkpoint is stored was lost, and what was committed since is in no stream. Making a
new one silently is how change data capture loses rows, so it takes `accept_gap`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.sql import SQL, Composed, Identifier

from outboxkit import sql
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import EXCHANGE_TYPE, declare_exchange
from outboxkit.sql import apply as schema
from relay.core.errors import SlotMissing, SourceRefused
from relay.core.position import Lsn
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources import tables
from relay.sources.wal.decoders import pgoutput, wal2json
from relay.storage.facts import Facts
from relay.storage.refusals import check_wal_level, from_postgres

_PREFERRED = wal2json.PLUGIN
_OLDER = "step over what is older with `relay slot skip`, which parks it to be redriven"


def setup(settings: RelaySettings, *, accept_gap: bool) -> Iterator[str]:
    """Do what is missing, yielding a line for each step; raises a Problem at the first that fails."""
    try:
        with _connect(settings) as connection:
            _require_logical(connection)
            applied = schema.apply(connection)
            yield f"schema: applied {', '.join(file.name for file in applied)}" if applied else "schema: up to date"
            yield make_slot(connection, settings, accept_gap=accept_gap)
    except psycopg.Error as error:
        raise from_postgres(error, slot=settings.slot) from error
    asyncio.run(_exchange(settings))
    yield f"exchange: {settings.exchange!r} ({EXCHANGE_TYPE}, durable) is there"


def plan(settings: RelaySettings) -> Iterator[str]:
    """Yield the SQL that `setup` would run, and change nothing."""
    try:
        with _connect(settings) as connection:
            _require_logical(connection)
            new = bool(schema.pending(connection))
            yield from schema.script(connection)
            written = psycopg.ClientCursor(connection).mogrify
            names = {"slot": settings.slot, "name": settings.name, "outboxes": settings.outboxes}
            slot = slots.find(connection, settings.slot)
            if slot is not None and slot.lost:
                yield f"{written(sql.query('slot_drop'), names)};"
            if slot is None or slot.lost:
                plugin = _PREFERRED if settings.plugin == "auto" else settings.plugin
                if plugin == pgoutput.PLUGIN:
                    yield f"{_publication(settings).as_string(connection)};"
                yield f"{written(sql.query('slot_create'), {**names, 'plugin': plugin})};"
            if new or (slot is not None and slot.lost) or not slots.checkpoint(connection, settings.name):
                yield f"{written(sql.query('checkpoint_reset'), names)};"
    except psycopg.Error as error:
        raise from_postgres(error, slot=settings.slot) from error


def _connect(settings: RelaySettings) -> psycopg.Connection[Any]:
    return psycopg.connect(
        settings.database_url.get_secret_value(),
        autocommit=True,
        application_name=f"{settings.name} setup",
        connect_timeout=10,
    )


def _require_logical(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute(sql.query("wal_level")).fetchone()
    assert row is not None  # noqa: S101 - the query always gives one row
    check_wal_level(row[0])


def make_slot(connection: psycopg.Connection[Any], settings: RelaySettings, *, accept_gap: bool) -> str:
    """Make the slot and its checkpoint where they are missing, and say so; raises SlotMissing if one was lost."""
    parameters = {"slot": settings.slot, "name": settings.name, "table": settings.outbox_table}
    facts = connection.cursor(row_factory=class_row(Facts)).execute(sql.query("source_facts"), parameters).fetchone()
    assert facts is not None  # noqa: S101 - the query always gives one row
    lost = facts.slot is not None and facts.wal_status == "lost"
    if facts.checkpoint_lsn is not None and not accept_gap and (facts.slot is None or lost):
        raise SlotMissing(
            f"replication slot {facts.checkpoint_slot!r} is gone; events were published up to {facts.checkpoint_lsn}, "
            "and what was committed since is in no stream",
            remedy="set RELAY_SLOT back if it was changed; else compare outbox.event with what consumers received, "
            "and go on from a new slot with `relay setup --accept-gap`",
        )
    if lost:
        connection.execute(sql.query("slot_drop"), parameters)
    new = facts.slot is None or lost
    published = False if new else _publish_again(connection, settings, str(facts.plugin))
    plugin = _create(connection, settings) if new else facts.plugin
    start = connection.execute(sql.query("slot_position"), {"slot": settings.slot}).fetchone()
    assert start is not None  # noqa: S101 - the slot was made above, or was there
    if facts.checkpoint_lsn is None or accept_gap:
        connection.execute(sql.query("checkpoint_reset"), {**parameters, "outboxes": settings.outboxes})
    state = "created" if new else "is there"
    line = f"slot: {settings.slot!r} ({plugin}) {state}, from {Lsn.parse(start[0])}"
    return f"{line}; its publication was gone and is made again: {_OLDER}" if published else line


def _publish_again(connection: psycopg.Connection[Any], settings: RelaySettings, plugin: str) -> bool:
    """Make the publication of a slot that is there, if it is missing; return whether it was."""
    return plugin == pgoutput.PLUGIN and _publish(connection, settings)


def _create(connection: psycopg.Connection[Any], settings: RelaySettings) -> str:
    """Make the slot with the plugin that was asked for, or the first that the server has and allows."""
    if settings.plugin in {"auto", wal2json.PLUGIN}:
        try:
            return _create_slot(connection, settings.slot, wal2json.PLUGIN)
        except (psycopg.errors.UndefinedFile, psycopg.errors.InsufficientPrivilege):
            if settings.plugin != "auto":
                raise
    # The slot's snapshot must already see the publication: pgoutput looks it up as of each change.
    _publish(connection, settings)
    return _create_slot(connection, settings.slot, pgoutput.PLUGIN)


def _create_slot(connection: psycopg.Connection[Any], slot: str, plugin: str) -> str:
    with suppress(psycopg.errors.DuplicateObject):  # another run of setup was faster
        connection.execute(sql.query("slot_create"), {"slot": slot, "plugin": plugin})
    return plugin


def _publish(connection: psycopg.Connection[Any], settings: RelaySettings) -> bool:
    """Make the publication, if it is missing; return whether it was."""
    try:
        connection.execute(_publication(settings))
    except psycopg.errors.DuplicateObject:
        _check_publication(connection, settings)
        return False
    except (psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedTable) as error:
        raise tables.missing(settings.outbox_table) from error
    return True


def _check_publication(connection: psycopg.Connection[Any], settings: RelaySettings) -> None:
    """Raise SourceRefused for a publication of that name that would not stream the outbox."""
    schema_name, _, table = settings.outbox_table.partition(".")
    names = {"publication": settings.slot, "schema": schema_name, "table": table}
    found = connection.execute(sql.query("publication_exists"), names).fetchone()
    if found is None or (settings.message_prefix is None and not all(found)):
        raise SourceRefused(
            f"publication {settings.slot!r} is there, and does not publish the inserts of {settings.outbox_table}",
            remedy=f'DROP PUBLICATION "{settings.slot}", then run `relay setup` again; or set another RELAY_SLOT',
        )


def _publication(settings: RelaySettings) -> Composed:
    """Return the statement that makes the publication, which is called like the slot."""
    name = Identifier(settings.slot)
    if settings.message_prefix is not None:
        return SQL(sql.query("publication_create_empty")).format(publication=name)
    table = Identifier(*settings.outbox_table.split("."))
    return SQL(sql.query("publication_create")).format(publication=name, table=table)


async def _exchange(settings: RelaySettings) -> None:
    connection = await Connection.open(
        settings.amqp_url.get_secret_value(), name=f"{settings.name} setup", tls=settings.tls()
    )
    try:
        await declare_exchange(connection, await connection.channel(), settings.exchange)
    finally:
        await connection.close()
