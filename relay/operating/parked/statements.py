"""The statements of `relay parked`.

Redriving marks the parked row and writes the event into the outbox again, with the same id, in one transaction. The
relay then publishes it from the stream like every other event. Discarding only marks the row. Neither deletes it.
"""

import json
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier, Placeholder

from outboxkit import sql
from relay.operating.connection import connected
from relay.settings import RelaySettings
from relay.sources.layout import layout

# The outbox table generates these for each new row.
_GENERATED = frozenset({"seq", "created_at"})


def waiting(settings: RelaySettings) -> list[dict[str, Any]]:
    """Return the events that are waiting, oldest first."""
    return _fetch(settings, "parked_list", {})


def stored(settings: RelaySettings, event: str) -> dict[str, Any] | None:
    """Return everything that is stored of one event, its payload in readable form; None if it is not parked."""
    rows = _fetch(settings, "parked_show", {"id": event})
    if not rows:
        return None
    (row,) = rows
    return row | {"payload": readable(bytes(row["payload"])), "headers": readable(row["headers"].encode())}


def redrive(settings: RelaySettings, ids: Sequence[str] | None) -> list[str]:
    """Write events into the outbox again (None: all that are waiting); return the ids of those that were waiting."""
    with connected(settings, "parked") as connection, connection.transaction():
        rows = connection.cursor(row_factory=dict_row)
        rows.execute(sql.query("parked_redrive"), {"ids": None if ids is None else list(ids)})
        events = rows.fetchall()
        for event in events:
            _write(connection, settings, event)
        return [event["id"] for event in events]


def discard(settings: RelaySettings, ids: Sequence[str]) -> list[str]:
    """Mark events as discarded; return the ids of those that were waiting."""
    return [row["id"] for row in _fetch(settings, "parked_discard", {"ids": list(ids)})]


def readable(payload: bytes) -> object:
    """Return a payload in readable form: as JSON, else as text, else in hexadecimal."""
    try:
        return json.loads(payload)
    except ValueError:
        pass
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload.hex()


def _write(connection: psycopg.Connection[Any], settings: RelaySettings, event: dict[str, Any]) -> None:
    """Write one event into the outbox: the table, in its layout, or a logical message."""
    if settings.message_prefix is not None:
        fields = {name: value for name, value in event.items() if name not in {*_GENERATED, "payload", "headers"}}
        payload = bytes(event["payload"]).decode()
        content = f'{json.dumps(fields)[:-1]}, "headers": {event["headers"]}, "payload": {payload}}}'
        connection.execute("SELECT pg_logical_emit_message(true, %s, %s::text)", (settings.message_prefix, content))
        return
    table = layout(settings.outbox_layout, settings.outbox_table, settings.outbox_columns, partitioned=False)
    columns = {field: column for field, column in table.columns.items() if field not in _GENERATED}
    statement = SQL("INSERT INTO {} ({}) VALUES ({})").format(
        Identifier(table.schema, table.table),
        SQL(", ").join(map(Identifier, columns.values())),
        SQL(", ").join(Placeholder() for _ in columns),
    )
    connection.execute(statement, [_value(field, event[field]) for field in columns])


def _value(field: str, value: Any) -> Any:  # noqa: ANN401 - any column
    """Return a value for a column of any type: the server converts text; a payload that is not text stays bytes."""
    if field != "payload":
        return value
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return bytes(value)


def _fetch(settings: RelaySettings, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    with connected(settings, "parked") as connection:
        return connection.cursor(row_factory=dict_row).execute(sql.query(query), parameters).fetchall()
