"""Applies the schema to a database: in one transaction, in order, each file once.

There is no way back. An applied file must not be changed: a change of the schema is a new file.
"""

from collections.abc import Iterator
from typing import Any

import psycopg

from outboxkit import sql
from outboxkit.errors import Problem


class SchemaChanged(Problem):
    """A schema file differs from the one that was applied to this database."""


def pending(connection: psycopg.Connection[Any]) -> list[sql.SchemaFile]:
    """Return the schema files that are not yet applied to `connection`'s database, in order.

    Raises SchemaChanged if an applied file was changed later, or is unknown to this version.
    """
    found = connection.execute(sql.query("schema_record_exists")).fetchone()
    if found is None or not found[0]:
        return sql.schema()
    applied = dict(connection.execute(sql.query("schema_record_list")).fetchall())
    files = sql.schema()
    for file in files:
        if applied.get(file.name, file.checksum) != file.checksum:
            raise SchemaChanged(
                f"{file.name} is not the file that this database was set up with",
                remedy="install the version that set it up, or make the change in a new schema file",
            )
    unknown = sorted(set(applied) - {file.name for file in files})
    if unknown:
        raise SchemaChanged(
            f"this database was set up by a newer version (it has {unknown[-1]})",
            remedy="install a version at least as new as that one",
        )
    return [file for file in files if file.name not in applied]


def script(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Yield the scripts that `apply` would run, in order; raises what `pending` raises."""
    written = psycopg.ClientCursor(connection).mogrify
    yield f"{sql.query('schema_record_create')};"
    for file in pending(connection):
        yield f"-- {file.name}\n{file.text}"
        yield f"{written(sql.query('schema_record_insert'), {'name': file.name, 'checksum': file.checksum})};"
    yield f"{sql.query('create_partitions')};"


def apply(connection: psycopg.Connection[Any]) -> list[sql.SchemaFile]:
    """Apply all pending files or none, and return them. Concurrent runs wait for each other."""
    with connection.transaction():
        connection.execute(sql.query("schema_lock"))
        connection.execute(sql.query("schema_record_create"))
        files = pending(connection)
        for file in files:
            connection.execute(file.text)
            connection.execute(sql.query("schema_record_insert"), {"name": file.name, "checksum": file.checksum})
    with connection.transaction():
        connection.execute(sql.query("create_partitions"))
    return files
