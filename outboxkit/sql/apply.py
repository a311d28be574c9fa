"""Applies the schema to a database: in one transaction, in order, each file once.

There is no way back. An applied file must not be changed: a change of the schema is a new file. What was applied is
recorded in a schema of its own. If one of our schemas was dropped since, `apply` makes it again
(outboxkit/sql/restoring.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg.rows import class_row

from outboxkit import sql
from outboxkit.errors import Problem
from outboxkit.sql import owners, restoring
from outboxkit.sql.statements import created


class SchemaChanged(Problem):
    """A schema file differs from the one that was applied to this database."""


class SchemaOlder(Problem):
    """The database lacks schema files of this version."""


class Applied(NamedTuple):
    """What `apply` did."""

    files: list[sql.SchemaFile]
    restored: list[str]
    """The schemas that had been dropped, and were made again."""


@dataclass(frozen=True, slots=True)
class _Found:
    there: bool
    in_public: bool


def require_current(applied: Mapping[str, str], *, remedy: str = "run `relay setup` of this version") -> None:
    """Raise unless `applied`, the checksums of the recorded files by name, are exactly the files of this version.

    `remedy` is for a schema that is older.
    """
    lacking = _lacking(applied)
    if lacking:
        raise SchemaOlder(
            f"the schema is older than this program: it lacks {', '.join(file.name for file in lacking)}",
            remedy=remedy,
        )


def pending(connection: psycopg.Connection[Any]) -> list[sql.SchemaFile]:
    """Return the schema files that are not yet applied to `connection`'s database, in order.

    Raises SchemaChanged if an applied file was changed later, or is unknown to this version.
    """
    return _lacking(_recorded(connection, _find(connection)))


def lacking(connection: psycopg.Connection[Any]) -> list[str]:
    """Return what `apply` would make: the names of pending files, and of schemas that were dropped."""
    recorded = _recorded(connection, _find(connection))
    return [*(file.name for file in _lacking(recorded)), *restoring.missing(connection, recorded)]


def script(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Yield the scripts that `apply` would run, in order; raises what `pending` raises."""
    found = _find(connection)
    recorded = _recorded(connection, found)
    lacking = _lacking(recorded)
    yield from (f"{each};" for each in _record(found))
    missing = restoring.missing(connection, recorded)
    if missing:
        yield f"-- {', '.join(missing)} was dropped; what 'already exists' was not"
    yield from (f"{statement.text};" for statement in restoring.again(recorded, missing))
    written = psycopg.ClientCursor(connection).mogrify
    for file in lacking:
        yield f"-- {file.name}\n{file.text}"
        yield f"{written(sql.query('schema_record_insert'), {'name': file.name, 'checksum': file.checksum})};"
    yield f"{sql.query('create_partitions')};"


def apply(connection: psycopg.Connection[Any]) -> Applied:
    """Apply all pending files or none, and make dropped schemas again. Concurrent runs wait for each other."""
    with connection.transaction():
        connection.execute(sql.query("schema_lock"))
        done = _apply(connection)
    _create_partitions(connection)
    return done


def _apply(connection: psycopg.Connection[Any]) -> Applied:
    found = _find(connection)
    if found.there and _is_whole(connection):
        return Applied([], [])
    if not (found.there or found.in_public):
        _require_room(connection)
    with owners.acting(connection, created(sql.schema())):
        for statement in _record(found):
            connection.execute(statement)
        recorded = _recorded(connection, _find(connection))
        files, missing = _lacking(recorded), restoring.missing(connection, recorded)
        restoring.restore(connection, recorded, missing)
        for file in files:
            connection.execute(file.text)
            connection.execute(sql.query("schema_record_insert"), {"name": file.name, "checksum": file.checksum})
    return Applied(files, missing)


def _is_whole(connection: psycopg.Connection[Any]) -> bool:
    recorded = _recorded(connection, _find(connection))
    return not (_lacking(recorded) or restoring.missing(connection, recorded))


def _create_partitions(connection: psycopg.Connection[Any]) -> None:
    try:
        with connection.transaction():
            connection.execute(sql.query("create_partitions"))
    except psycopg.errors.InsufficientPrivilege:
        with connection.transaction(), owners.acting(connection, created(sql.schema())):
            connection.execute(sql.query("create_partitions"))


def _find(connection: psycopg.Connection[Any]) -> _Found:
    row = connection.cursor(row_factory=class_row(_Found)).execute(sql.query("schema_record_find")).fetchone()
    assert row is not None  # noqa: S101 - the query always returns one row
    return row


def _recorded(connection: psycopg.Connection[Any], found: _Found) -> dict[str, str]:
    """Return the checksums of the applied files by name."""
    if not (found.there or found.in_public):
        return {}
    query = "schema_record_list" if found.there else "schema_record_list_in_public"
    row = connection.execute(sql.query(query)).fetchone()
    assert row is not None  # noqa: S101 - the query always returns one row
    return dict(row[0])


def _record(found: _Found) -> list[LiteralString]:
    """Return the statements that put the record where it belongs."""
    if found.there:
        return []
    return [sql.query("schema_record_move" if found.in_public else "schema_record_create")]


def _lacking(applied: Mapping[str, str]) -> list[sql.SchemaFile]:
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
            remedy="install a version at least as new as that one; a schema file cannot be taken back",
        )
    return [file for file in files if file.name not in applied]


def _require_room(connection: psycopg.Connection[Any]) -> None:
    """Raise SchemaChanged if there is a schema of our names without a record."""
    present = restoring.present(connection, created(sql.schema()))
    if present:
        raise SchemaChanged(
            f"schema {present[0]} exists, but nothing records that a setup made it",
            remedy=f"if another program made it: ALTER SCHEMA {present[0]} RENAME TO <another name>, or set up another "
            "database; if `relay setup` or `consumers setup` made it, restore outbox_setup.applied from a backup",
        )
