"""The trigger that wakes a polling relay when something is written into its outbox (RELAY_POLL_NOTIFY)."""

from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from outboxkit import sql
from relay.core.errors import SourceRefused
from relay.settings import RelaySettings


def exists(connection: psycopg.Connection[Any], settings: RelaySettings) -> bool:
    """Return whether the outbox table has the trigger, and it is enabled."""
    schema, _, table = settings.outbox_table.partition(".")
    return bool(connection.execute(sql.query("setup_notify_exists"), {"schema": schema, "table": table}).fetchone())


def statements(settings: RelaySettings) -> list[SQL | Composed]:
    """Return what makes it; raises SourceRefused if the outbox is no table."""
    if settings.table is None:
        raise SourceRefused("an outbox of logical messages has no table, and is not polled", remedy="omit --notify")
    table = Identifier(*settings.table.split("."))
    return [SQL(sql.query("setup_notify")), SQL(sql.query("setup_notify_trigger")).format(table=table)]
