"""Makes a replication slot, with the plugin that the server has.

Postgres makes a slot in a statement that may wait for long, and shows the slot meanwhile, without a position. So
whoever looks at a slot in order to make it takes a turn first: then the slot is either whole or not there.
"""

from typing import Any, LiteralString

import psycopg

from outboxkit import sql
from outboxkit.errors import Problem
from relay.operating import outbox
from relay.operating.setup import publication
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources.wal.decoders import pgoutput, wal2json
from relay.storage.facts import TableFacts
from relay.storage.sessions.refusals import from_postgres


def take_turn(connection: psycopg.Connection[Any], slot: str) -> None:
    """Wait until nobody is making `slot`, and let no other setup make it before this session ends."""
    connection.execute(sql.query("slot_create_abandoned"))
    connection.execute(sql.query("slot_create_turn"), {"slot": slot})
    _until_finished(connection, slot)


def create(connection: psycopg.Connection[Any], settings: RelaySettings, found: TableFacts, plugin: str) -> str:
    """Create the slot with `plugin`; with RELAY_PLUGIN=auto, with pgoutput if the server does not have it.

    Returns the plugin that it has; raises SourceRefused if pgoutput would not deliver the outbox that was `found`.
    """
    if plugin == wal2json.PLUGIN:
        try:
            return _create_slot(connection, settings, wal2json.PLUGIN)
        except (psycopg.errors.UndefinedFile, psycopg.errors.InsufficientPrivilege) as error:
            if settings.plugin != "auto" or not slots.facts(connection, settings).may_replicate:
                raise _refused(error, settings) from error
            outbox.require(found, settings, pgoutput.PLUGIN)
    # First the publication, then the slot: pgoutput reads the publication as it was at each change.
    publication.create(connection, settings)
    try:
        return _create_slot(connection, settings, pgoutput.PLUGIN)
    except psycopg.errors.InsufficientPrivilege as error:
        raise _refused(error, settings) from error


def _refused(error: psycopg.Error, settings: RelaySettings) -> Problem:
    """Return the problem of a slot that was not made."""
    return from_postgres(error, slot=settings.slot, done="making a slot")


def statement(settings: RelaySettings) -> LiteralString:
    """Return the statement that creates the slot."""
    return sql.query("slot_create_failover" if settings.slot_failover else "slot_create")


def _create_slot(connection: psycopg.Connection[Any], settings: RelaySettings, plugin: str) -> str:
    """Create the slot, or wait for somebody who makes it without taking turns; return the plugin that it has then."""
    while True:
        try:
            connection.execute(statement(settings), {"slot": settings.slot, "plugin": plugin})
        except psycopg.errors.DuplicateObject:
            _until_finished(connection, settings.slot)
            found = slots.find(connection, settings.slot)
            if found is not None:
                return found.plugin or plugin
        else:
            return plugin


def _until_finished(connection: psycopg.Connection[Any], slot: str) -> None:
    while connection.execute(sql.query("slot_create_unfinished"), {"slot": slot}).fetchone():
        pass
