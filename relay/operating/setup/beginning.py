"""Where a relay begins that has no position yet: behind everything that is committed, or at the start of the table.

From the start means from a snapshot that sees no transaction at all. The relay polls what any later snapshot sees,
in order, by batches, and each row once, as always (relay/sources/handover/handover.py). A poll reads rows by their
`tx`, so rows from before that column need one first. They get it here:

    Every row without `tx` has been given one before the relay's first position is stored.

Until then no relay runs under this name, so none passes over such a row. The update is no insert, so no stream has it;
and the position sees none of it, so the first poll has all of it, once. It goes by batches, each a transaction of its
own, in the order in which the table has the rows; a run that was ended goes on with the rows that are left.

A row of another server, which came by a restore, has the number of a transaction that may be yet to come here: as
soon as it came, the row would be polled. Such rows get a number too, whichever the beginning is.
"""

from typing import Any, Literal

import psycopg
from psycopg.sql import SQL, Identifier

from outboxkit import sql
from relay.core.errors import SourceRefused
from relay.operating import outbox
from relay.settings import RelaySettings
from relay.sources.polling.skip_locked.statements import statements
from relay.sources.polling.statements import has_tx
from relay.storage.facts import TableFacts

From = Literal["now", "start"]

_SEES_NOTHING = "3:3:"
"""The first transaction of any server is number 3: the ones before it are Postgres' own."""
_BLOCKS = 128
"""Blocks of a table that are updated in one transaction, of 8 KiB each."""
_PASSES = 10
_OLD = "tx IS NULL"
_FOREIGN = "tx >= pg_snapshot_xmax(pg_current_snapshot())"


def begin(
    connection: psycopg.Connection[Any], settings: RelaySettings, found: TableFacts, start: From, *, slot: str | None
) -> bool:
    """Store the first position, unless there is one; return whether it was stored. Raises SourceRefused.

    The table can be polled.
    """
    outbox.require_pollable(found, settings)
    numbered = has_tx(found)
    if numbered and start == "start":
        _require_no_other(connection, settings)
        number(connection, settings, found, f"{_OLD} OR {_FOREIGN}")
    elif numbered:
        number(connection, settings, found)
    names = {"name": settings.name, "slot": slot, "outboxes": settings.outboxes}
    with connection.transaction():
        position = {**names, "snapshot": snapshot(start)}
        begun = connection.execute(sql.query("checkpoint_begin"), position).rowcount == 1
        if begun and not numbered and start == "now":  # then marks say what is published, and not a snapshot
            marks = statements(settings.layout(partitioned=found.partitioned), found, batch=1).mark_all
            connection.execute(marks, {"relay": settings.name, "outbox": settings.table})
    return begun


def snapshot(start: From) -> str | None:
    """Return the first position; None for what is visible now."""
    return _SEES_NOTHING if start == "start" else None


def number(
    connection: psycopg.Connection[Any], settings: RelaySettings, found: TableFacts, which: str = _FOREIGN
) -> None:
    """Give the rows `which` a number of this server; a row that is updated meanwhile takes another pass."""
    for _ in range(_PASSES):
        if not any(_unknown(connection, settings)[0 if _OLD in which else 1 :]):
            return
        for schema, table in found.leaves:
            _fill(connection, Identifier(schema, table), which)
    raise SourceRefused(
        f"rows of {settings.table} could not be given a transaction's number: they stay as they were",
        remedy="a trigger of the table may refuse updates: ALTER TABLE ... DISABLE TRIGGER it while setup runs",
    )


def _unknown(connection: psycopg.Connection[Any], settings: RelaySettings) -> tuple[bool, bool]:
    """Return whether there are rows from before the column, and of another server."""
    table = Identifier(*settings.outbox_table.split(".", 1))
    row = connection.execute(SQL(sql.query("tx_unknown")).format(table=table)).fetchone()
    assert row is not None  # noqa: S101 - the query always returns one row
    return row[0], row[1]


def _fill(connection: psycopg.Connection[Any], table: Identifier, which: str) -> None:
    size = connection.execute(sql.query("tx_blocks"), {"table": table.as_string(connection)}).fetchone()
    assert size is not None  # noqa: S101 - the query always returns one row
    fill = SQL(sql.query("tx_fill")).format(table=table, which=SQL(which))
    for block in range(0, size[0] + 1, _BLOCKS):
        connection.execute(fill, {"begin": f"({block},0)", "end": f"({block + _BLOCKS},0)"})


def _require_no_other(connection: psycopg.Connection[Any], settings: RelaySettings) -> None:
    """Raise SourceRefused if rows from before the column would be published again by another relay."""
    if not _unknown(connection, settings)[0]:
        return
    row = connection.execute(
        sql.query("checkpoint_others"), {"name": settings.name, "outboxes": settings.outboxes}
    ).fetchone()
    if row is not None and row[0]:
        raise SourceRefused(
            f"{settings.table} has rows from before its column tx, and they would be published again by relay "
            + ", ".join(map(repr, row[0])),
            remedy="run `relay setup --from now`, which leaves them out",
        )
