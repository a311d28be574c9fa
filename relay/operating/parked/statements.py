"""`relay parked`: what could not be published, and what an operator decides about it.

Redriving writes the event into the outbox again, under its own id, in one transaction with the mark on the parked row:
it goes through the stream like every other. Discarding only marks it. Neither removes the row.
"""

import json
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier, Placeholder

from outboxkit import sql
from relay.settings import RelaySettings
from relay.sources.layout import layout
from relay.storage.refusals import from_postgres

# What the table itself gives: a redriven event is written anew.
_GIVEN = frozenset({"seq", "created_at"})


def waiting(settings: RelaySettings) -> list[dict[str, Any]]:
    """Return the events that wait, oldest first."""
    return _fetch(settings, "parked_list", {})


def kept(settings: RelaySettings, event: str) -> dict[str, Any] | None:
    """Return all that is kept of one event, its payload as JSON or text where it is that."""
    rows = _fetch(settings, "parked_show", {"id": event})
    if not rows:
        return None
    (row,) = rows
    return row | {"payload": readable(bytes(row["payload"])), "headers": readable(row["headers"].encode())}


def redrive(settings: RelaySettings, ids: Sequence[str] | None) -> list[str]:
    """Write events into the outbox again (None: all that wait); return the ids of those that did wait."""
    try:
        with _connect(settings) as connection:
            rows = connection.cursor(row_factory=dict_row)
            rows.execute(sql.query("parked_redrive"), {"ids": None if ids is None else list(ids)})
            events = rows.fetchall()
            for event in events:
                _write(connection, settings, event)
            return [event["id"] for event in events]
    except psycopg.Error as error:
        raise from_postgres(error, slot=settings.slot) from error


def discard(settings: RelaySettings, ids: Sequence[str]) -> list[str]:
    """Mark events as given up; return the ids of those that did wait."""
    return [row["id"] for row in _fetch(settings, "parked_discard", {"ids": list(ids)})]


def readable(payload: bytes) -> object:
    """Return a payload as a person reads it: JSON, else text, else hexadecimal."""
    try:
        return json.loads(payload)
    except ValueError:
        pass
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload.hex()


def _write(connection: psycopg.Connection[Any], settings: RelaySettings, event: dict[str, Any]) -> None:
    """Write one event where events come from: the outbox table, whatever its layout, or a logical message."""
    if settings.message_prefix is not None:
        fields = {name: value for name, value in event.items() if name not in {*_GIVEN, "payload", "headers"}}
        payload = bytes(event["payload"]).decode()
        content = f'{json.dumps(fields)[:-1]}, "headers": {event["headers"]}, "payload": {payload}}}'
        connection.execute("SELECT pg_logical_emit_message(true, %s, %s::text)", (settings.message_prefix, content))
        return
    table = layout(settings.outbox_layout, settings.outbox_table, settings.outbox_columns, partitioned=False)
    columns = {field: column for field, column in table.columns.items() if field not in _GIVEN}
    statement = SQL("INSERT INTO {} ({}) VALUES ({})").format(
        Identifier(table.schema, table.table),
        SQL(", ").join(map(Identifier, columns.values())),
        SQL(", ").join(Placeholder() for _ in columns),
    )
    connection.execute(statement, [_value(field, event[field]) for field in columns])


def _value(field: str, value: Any) -> Any:  # noqa: ANN401 - any column
    """Return a value for a column of whatever type: text is coerced by the server, a payload that is no text stays."""
    if field != "payload":
        return value
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return bytes(value)


def _connect(settings: RelaySettings) -> psycopg.Connection[Any]:
    return psycopg.connect(
        settings.database_url.get_secret_value(), application_name=f"{settings.name} parked", connect_timeout=10
    )


def _fetch(settings: RelaySettings, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        with _connect(settings) as connection:
            return connection.cursor(row_factory=dict_row).execute(sql.query(query), parameters).fetchall()
    except psycopg.Error as error:
        raise from_postgres(error, slot=settings.slot) from error
