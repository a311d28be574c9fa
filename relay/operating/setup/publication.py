"""The publication that pgoutput reads. It has the slot's name."""

from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from outboxkit import sql
from relay.core.errors import SourceRefused
from relay.settings import RelaySettings
from relay.sources import tables

CREATED_AGAIN = (
    "its publication was missing and was created again: the stream cannot pass older events; "
    "skip them with `relay slot skip`, which parks them, then redrive them"
)


def create(connection: psycopg.Connection[Any], settings: RelaySettings) -> bool:
    """Create the publication if it is missing; return whether it was."""
    try:
        connection.execute(statement(settings))
    except psycopg.errors.DuplicateObject:
        _require_outbox(connection, settings)
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


def _require_outbox(connection: psycopg.Connection[Any], settings: RelaySettings) -> None:
    """Raise SourceRefused for an existing publication of that name that would not publish the outbox."""
    schema, _, table = settings.outbox_table.partition(".")
    names = {"publication": settings.slot, "schema": schema, "table": table}
    found = connection.execute(sql.query("publication_exists"), names).fetchone()
    if found is None or (settings.message_prefix is None and not all(found)):
        raise SourceRefused(
            f"publication {settings.slot!r} exists, but does not publish the inserts of {settings.outbox_table}",
            remedy=f'DROP PUBLICATION "{settings.slot}", then run `relay setup` again; or set another RELAY_SLOT',
        )
