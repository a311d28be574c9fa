"""An example of an event handler: `CONSUMERS_HANDLERS=consumers.events.examples`. docs/events.md explains it."""

from typing import Any

import psycopg

from consumers import Event, on
from outboxkit import sql


@on("order.*", by="version")
async def keep_order(event: Event, connection: psycopg.AsyncConnection[Any]) -> None:
    """Keep the status of each order in `demo.order_view` (sql/examples/order_view.sql)."""
    await connection.execute(
        sql.example("order_view_keep"),
        {"id": event.aggregate_id, "status": event.type, "version": event.aggregate_version},
    )
