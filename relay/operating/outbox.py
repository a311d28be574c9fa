"""What the outbox is, for commands: asked of the server, and judged as `relay run` judges it."""

from dataclasses import replace
from typing import Any

import psycopg
from psycopg.rows import kwargs_row, scalar_row

from outboxkit import sql
from outboxkit.errors import Problem
from relay.core.errors import SourceRefused
from relay.settings import RelaySettings
from relay.sources import tables
from relay.sources.layout import Layout
from relay.sources.polling.skip_locked.statements import require_key
from relay.sources.polling.statements import require_tx
from relay.sources.wal.decoders import pgoutput, wal2json
from relay.storage.facts import TableFacts, table_facts


def facts(connection: psycopg.Connection[Any], settings: RelaySettings) -> TableFacts:
    """Return what the outbox table and the slot's publication are, and whether they exist."""
    schema, _, table = settings.outbox_table.partition(".")
    asked = {"schema": schema, "table": table, "publication": settings.slot}
    cursor = connection.cursor(row_factory=kwargs_row(table_facts))
    found = cursor.execute(sql.query("outbox_table"), asked).fetchone()
    assert found is not None  # noqa: S101 - the query always returns one row
    return found


def layout(found: TableFacts, settings: RelaySettings) -> Layout | None:
    """Return the layout of the outbox table; None if the outbox is logical messages."""
    return settings.layout(partitioned=found.partitioned) if settings.message_prefix is None else None


def require(found: TableFacts, settings: RelaySettings, plugin: str) -> None:
    """Raise SourceRefused or UndecodableChange if `plugin` would not deliver the rows of the table as they are."""
    table = layout(found, settings)
    if table is not None:
        tables.check(found, table, plugin=plugin)


def pollable(found: TableFacts, settings: RelaySettings) -> bool:
    """Return whether the table can be polled, so that what no slot has is not lost."""
    if settings.source == "wal":
        return False
    try:
        require_pollable(found, settings)
    except Problem:
        return False
    return True


def require_pollable(found: TableFacts, settings: RelaySettings) -> None:
    """Raise SourceRefused or UndecodableChange if the table cannot be polled."""
    table = layout(found, settings)
    if table is None:
        raise SourceRefused(
            "an outbox of logical messages has no table to poll",
            remedy="set RELAY_SOURCE=wal, or name a table with RELAY_OUTBOX_TABLE instead of RELAY_MESSAGE_PREFIX",
        )
    tables.check_rows(found, table)
    if settings.poll_strategy == "snapshot":
        require_tx(table, found)
    else:
        require_key(table, found)


def require_relay_can_poll(connection: psycopg.Connection[Any], settings: RelaySettings) -> None:
    """Raise SourceRefused or UndecodableChange if a relay that is asked to poll the table cannot do that.

    What this session's role may read is judged only if the active relay has the same role: an operator may read no row.
    """
    found = facts(connection, settings)
    role = (
        connection.cursor(row_factory=scalar_row).execute(sql.query("leader_role"), {"name": settings.name}).fetchone()
    )
    require_pollable(found if role == found.role else replace(found, readable=True, hidden=False), settings)


def preferred(found: TableFacts, settings: RelaySettings) -> str:
    """Return the plugin that RELAY_PLUGIN asks for; with `auto`, wal2json unless only pgoutput can read this outbox."""
    if settings.plugin != "auto":
        return settings.plugin
    only_pgoutput = _refused(found, settings, wal2json.PLUGIN) and not _refused(found, settings, pgoutput.PLUGIN)
    return pgoutput.PLUGIN if only_pgoutput else wal2json.PLUGIN


def _refused(found: TableFacts, settings: RelaySettings, plugin: str) -> bool:
    try:
        require(found, settings, plugin)
    except Problem:
        return True
    return False
