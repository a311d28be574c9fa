"""The statements of `relay parked`: each is about the rows of one relay.

Redriving asks for the event in its row, where the active relay reads it within a second. The outbox is not written to.
Discarding only marks the row. Neither deletes it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row

from outboxkit import sql
from relay.core.messages.nesting import too_deep
from relay.settings import RelaySettings
from relay.storage.sessions.refusals import from_postgres


@dataclass(frozen=True, slots=True)
class Row:
    """A row of relay.parked: the columns of sql/queries/parked_find.sql."""

    row: int
    id: str
    state: str
    """waiting, redriven (or asked for) or discarded."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that could not be redriven, and why; it waits as before."""

    row: int
    id: str
    reason: str


def waiting(connection: psycopg.Connection[Any], relay: str) -> list[dict[str, Any]]:
    """Return the events of `relay` that are waiting, oldest first."""
    cursor = connection.cursor(row_factory=dict_row)
    return cursor.execute(sql.query("parked_list"), {"relay": relay}).fetchall()


def stored(
    connection: psycopg.Connection[Any], relay: str, ids: Sequence[str], rows: Sequence[int]
) -> list[dict[str, Any]]:
    """Return everything that is stored of some events of `relay`, their payloads in readable form."""
    cursor = connection.cursor(row_factory=dict_row)
    cursor.execute(sql.query("parked_show"), {"relay": relay, "ids": list(ids), "rows": list(rows)})
    return [
        row | {"payload": readable(bytes(row["payload"])), "headers": readable(row["headers"].encode())}
        for row in cursor
    ]


def find(
    connection: psycopg.Connection[Any], relay: str, ids: Sequence[str] | None, rows: Sequence[int] | None
) -> list[Row]:
    """Return the rows of `relay` with one of `ids` or `rows`, in the order of the events; for None, all that wait."""
    chosen = {"ids": None if ids is None else list(ids), "rows": list(rows or ())}
    cursor = connection.cursor(row_factory=class_row(Row))
    return cursor.execute(sql.query("parked_find"), {"relay": relay, **chosen}).fetchall()


def redrive(
    connection: psycopg.Connection[Any], settings: RelaySettings, rows: Sequence[Row]
) -> tuple[list[Row], list[Failure]]:
    """Ask for events to be published again, each in a transaction of its own; return those that were and were not.

    Raises psycopg's error if the connection breaks. A row that does not wait any more is in neither list.
    """
    done, failed = [], []
    for row in rows:
        try:
            sent = connection.execute(sql.query("parked_ask"), {"row": row.row, "relay": settings.name}).fetchone()
        except psycopg.Error as error:
            if connection.closed:
                raise
            failed.append(Failure(row.row, row.id, from_postgres(error, slot=settings.slot).what))
        else:
            done += [row] if sent else []
    return done, failed


def discard(connection: psycopg.Connection[Any], relay: str, rows: Sequence[Row]) -> list[Row]:
    """Mark the events in `rows` as discarded; return those that were waiting."""
    numbers = [row.row for row in rows]
    found = connection.execute(sql.query("parked_discard"), {"relay": relay, "rows": numbers}).fetchall()
    discarded = {number for (number,) in found}
    return [row for row in rows if row.row in discarded]


def readable(payload: bytes) -> object:
    """Return a payload in readable form: as JSON, else as text, else in hexadecimal."""
    try:
        if not too_deep(payload.decode(errors="replace")):
            return json.loads(payload)
    except ValueError:
        pass
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload.hex()
