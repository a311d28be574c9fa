"""Makes schemas of ours again that were dropped after they had been applied, and what that took along from the others.

A statement is about the schema that it names first. Those about a dropped schema run again, in order. A schema that
stayed may have lost what referred to the dropped one, a function for example: its statements that create or drop
something run again too, except for what is still there.
"""

from collections.abc import Collection, Mapping
from typing import Any

import psycopg
from psycopg import errors

from outboxkit import sql
from outboxkit.sql.statements import Statement, created, statements

_STILL_THERE = (
    errors.DuplicateSchema,
    errors.DuplicateTable,
    errors.DuplicateFunction,
    errors.DuplicateObject,
    errors.UndefinedTable,
    errors.UndefinedFunction,
    errors.UndefinedObject,
)
"""What CREATE says about an object that is there, and DROP about one that is not."""


def present(connection: psycopg.Connection[Any], schemas: Collection[str]) -> list[str]:
    """Return those of `schemas` that exist, in this order."""
    found = {row[0] for row in connection.execute(sql.query("schema_present"), {"schemas": list(schemas)})}
    return [name for name in schemas if name in found]


def missing(connection: psycopg.Connection[Any], recorded: Mapping[str, str]) -> list[str]:
    """Return the schemas that the recorded files created and that do not exist."""
    made = created(_applied(recorded))
    there = present(connection, made)
    return [name for name in made if name not in there]


def again(recorded: Mapping[str, str], dropped: Collection[str]) -> list[Statement]:
    """Return the statements to run again after the schemas `dropped` are gone, in order. Pure."""
    every = statements(_applied(recorded))
    affected = set(dropped)
    for _ in created(sql.schema()):  # what depends on what depends on a dropped schema
        affected |= {each.schemas[0] for each in every if affected & set(each.schemas)}
    return [
        each
        for each in every
        if each.schemas
        and each.schemas[0] in affected
        and (each.schemas[0] in dropped or each.verb in {"CREATE", "DROP"})
    ]


def restore(connection: psycopg.Connection[Any], recorded: Mapping[str, str], dropped: Collection[str]) -> None:
    """Make the schemas `dropped` again, inside the caller's transaction."""
    for statement in again(recorded, dropped):
        try:
            with connection.transaction():
                connection.execute(statement.text.encode())
        except _STILL_THERE:
            if statement.schemas[0] in dropped:
                raise


def _applied(recorded: Mapping[str, str]) -> list[sql.SchemaFile]:
    return [file for file in sql.schema() if file.name in recorded]
