"""Events that could not be applied: parked with their reason in `inbox.parked`, and taken from there when asked for.

Each method is one statement, and may be sent twice if its connection breaks.
"""

import json
from collections.abc import Collection, Sequence

from consumers.events.applying.work import Work
from consumers.events.declaring.event import Message
from consumers.postgres.database import Database
from outboxkit import sql

_AT_ONCE = 100


class Parking:
    """The parked events of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def park(self, work: Work, reason: str, error: str, *, committed: bool) -> int | None:
        """Park `work`, with its claim; return its row, or None if it was applied meanwhile."""
        if work.parked is not None:
            parameters = {"number": work.parked, "reason": reason, "error": error}
            ((number,),) = await self._database.fetch(sql.query("inbox_park_again"), parameters)
            return None if number is None else int(number)
        event, message = work.event, work.message
        ((number,),) = await self._database.fetch(
            sql.query("inbox_park"),
            {
                "consumer": work.handler.name,
                "message_id": event.id,
                "by_version": work.handler.by == "version",
                "aggregate_type": event.aggregate_type,
                "aggregate_id": event.aggregate_id,
                "aggregate_version": event.aggregate_version,
                "event_type": event.type,
                "routing_key": event.routing_key,
                "created_at": event.created_at,
                "headers": json.dumps(dict(message.headers), default=str),
                "body": message.body,
                "reason": reason,
                "error": error,
                "committed": committed,
            },
        )
        return None if number is None else int(number)

    async def asked(self, consumers: Sequence[str], underway: Collection[int]) -> list[tuple[int, str, Message]]:
        """Return rows, with consumer and message, that were asked for and are not `underway`."""
        rows = await self._database.fetch(
            sql.query("inbox_asked"), {"consumers": list(consumers), "underway": list(underway), "limit": _AT_ONCE}
        )
        return [
            (number, consumer, Message(message_id, type_, key, created_at, json.loads(headers), bytes(body)))
            for number, consumer, message_id, type_, created_at, key, headers, body in rows
        ]
