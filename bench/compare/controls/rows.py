"""The rows that a control reads and marks: statements of sql/examples, in a session of the relay's."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from outboxkit import sql
from relay.core.event import OutboxEvent
from relay.sources.fields import FIELDS
from relay.sources.layout import Column, layout
from relay.sources.polling.rows import now
from relay.storage.sessions.session import Session

_SEQ = FIELDS.index("seq")
_READER = layout("native", "outbox.event", {}, partitioned=True).reader([Column(name) for name in FIELDS])

Row = Sequence[str | None]


async def execute(session: Session, name: str, parameters: Mapping[str, object]) -> list[Row]:
    """Run the statement `name` and return its rows; raises SourceUnavailable."""

    async def work(connection: psycopg.AsyncConnection[Any]) -> list[Row]:
        cursor = await connection.execute(sql.example(name), parameters)
        return await cursor.fetchall() if cursor.description else []

    return await session.work(work)


def seq(row: Row) -> int:
    """Return the number of a row."""
    return int(row[_SEQ] or 0)


def event(row: Row) -> OutboxEvent:
    """Return the event in a row."""
    return _READER.event(row, now)
