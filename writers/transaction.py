"""Writes tasks and events in the caller's transaction. It never commits, rolls back or connects.

One code serves both kinds of connection; only the one call that waits differs. The result is a value for a Connection
and a coroutine of that value for an AsyncConnection.
"""

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, LiteralString, TypeVar, overload
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from outboxkit import sql
from writers.errors import translated
from writers.records import NewEvent, NewTask

T = TypeVar("T")
Row = dict[str, object]


@overload
def submit(connection: psycopg.Connection[Any], task: NewTask) -> UUID: ...
@overload
def submit(connection: psycopg.AsyncConnection[Any], task: NewTask) -> Coroutine[Any, Any, UUID]: ...
def submit(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], task: NewTask
) -> UUID | Coroutine[Any, Any, UUID]:
    """Write `task`, and its event unless it is due later; return the task's id.

    Raises Refused, NotSetUp or NotAllowed; then the transaction can only be rolled back. Raises psycopg's
    OperationalError when the connection is lost. In pipeline mode a later call may raise the error, then as psycopg's
    own (https://www.psycopg.org/psycopg3/docs/advanced/pipeline.html).
    """
    return _write(connection, sql.query("submit_task"), [_task(task)], task.id)


@overload
def submit_many(connection: psycopg.Connection[Any], tasks: Iterable[NewTask]) -> list[UUID]: ...
@overload
def submit_many(
    connection: psycopg.AsyncConnection[Any], tasks: Iterable[NewTask]
) -> Coroutine[Any, Any, list[UUID]]: ...
def submit_many(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], tasks: Iterable[NewTask]
) -> list[UUID] | Coroutine[Any, Any, list[UUID]]:
    """Write many tasks and their events in one round trip; return the ids in order. Raises what `submit` does."""
    tasks = list(tasks)
    return _write(connection, sql.query("submit_task"), [_task(task) for task in tasks], [task.id for task in tasks])


@overload
def publish(connection: psycopg.Connection[Any], event: NewEvent) -> UUID: ...
@overload
def publish(connection: psycopg.AsyncConnection[Any], event: NewEvent) -> Coroutine[Any, Any, UUID]: ...
def publish(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], event: NewEvent
) -> UUID | Coroutine[Any, Any, UUID]:
    """Write `event`; return its id, which is also its message id. Raises what `submit` does."""
    return _write(connection, sql.query("publish_event"), [_event(event)], event.id)


def _write(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
    statement: LiteralString,
    rows: Sequence[Row],
    written: T,
) -> T | Coroutine[Any, Any, T]:
    """Run `statement` for each row and return `written`.

    The cursor is psycopg's own class: the caller's cursor or row factory may read placeholders or results differently.
    `executemany` sends all rows in one pipeline.
    """
    if isinstance(connection, psycopg.AsyncConnection):
        return _wait(connection, statement, rows, written)
    with translated():
        psycopg.Cursor(connection, row_factory=tuple_row).executemany(statement, rows)
    return written


async def _wait(
    connection: psycopg.AsyncConnection[Any], statement: LiteralString, rows: Sequence[Row], written: T
) -> T:
    with translated():
        await psycopg.AsyncCursor(connection, row_factory=tuple_row).executemany(statement, rows)
    return written


def _task(task: NewTask) -> Row:
    return {
        "type": task.type,
        "payload": Jsonb(task.payload),
        "max_attempts": task.max_attempts,
        "headers": Jsonb(task.headers),
        "id": task.id,
        "run_at": task.run_at,
    }


def _event(event: NewEvent) -> Row:
    return {
        "aggregate_type": event.aggregate_type,
        "aggregate_id": event.aggregate_id,
        "aggregate_version": event.aggregate_version,
        "event_type": event.event_type,
        "payload": Jsonb(event.payload),
        "headers": Jsonb(event.headers),
        "id": event.id,
        "exchange": event.exchange,
        "routing_key": event.routing_key,
    }
