"""The publication that pgoutput reads. It has the slot's name."""

from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from outboxkit import sql
from relay.operating import outbox
from relay.settings import RelaySettings
from relay.sources import tables

CREATED_AGAIN = (
    "its publication was missing and was created again: the stream cannot pass older events; "
    "skip them with `relay slot skip`, which parks them, then redrive them"
)


def create(connection: psycopg.Connection[Any], settings: RelaySettings) -> bool:
    """Create the publication if it is missing; return whether it was. Raises SourceRefused if it lacks the outbox."""
    try:
        connection.execute(statement(settings))
    except psycopg.errors.DuplicateObject:
        found = outbox.facts(connection, settings)
        tables.check_publication(found, outbox.layout(found, settings), settings.slot)
        return False
    except (psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedTable) as error:
        raise tables.missing(settings.outbox_table) from error
    return True


def statement(settings: RelaySettings) -> Composed:
    """Return the statement that creates the publication."""
    name = Identifier(settings.slot)
    if settings.message_prefix is not None:
        return SQL(sql.query("publication_create_empty")).format(publication=name)
    table = Identifier(*settings.outbox_table.split("."))
    return SQL(sql.query("publication_create")).format(publication=name, table=table)
