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

A relay that only polls begins again, behind everything that is committed, where a gap after such a restore is accepted.
"""

from collections.abc import Iterator
from typing import Any, Literal

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from outboxkit import sql
from outboxkit.sql.apply import lacking
from outboxkit.sql.restoring import present
from relay.core.errors import PositionLost, SourceRefused
from relay.core.position import Snapshot
from relay.operating import outbox
from relay.operating.setup.dividing import positions
from relay.settings import RelaySettings
from relay.sources.polling.skip_locked.statements import statements
from relay.sources.polling.statements import has_tx
from relay.storage.facts import TableFacts

From = Literal["now", "start"]

_SEES_NOTHING = Snapshot(3, 3)
"""The first transaction of any server is number 3: the ones before it are Postgres' own."""
_BLOCKS = 128
"""Blocks of a table that are updated in one transaction, of 8 KiB each."""
_LAST = "(4294967295,0)"
"""A place behind each row of a table."""
_PASSES = 10
_OLD = "tx IS NULL"
FOREIGN = "tx >= pg_snapshot_xmax(pg_current_snapshot())"


def begin(
    connection: psycopg.Connection[Any], settings: RelaySettings, found: TableFacts, start: From, *, slot: str | None
) -> bool:
    """Store the first position, unless there is one; return whether it was stored. Raises SourceRefused.

    The table can be polled.
    """
    outbox.require_pollable(found, settings)
    partitions = not settings.owner.partition.whole
    if partitions and positions.begun(connection, settings):
        return positions.take(connection, settings, positions.Beginning(), slot)
    numbered = has_tx(found)
    if numbered:
        if start == "start":
            _require_no_other(connection, settings, found)
        number(connection, settings, found, _which(start))
    if partitions:
        return positions.take(connection, settings, positions.Beginning(_snapshot(start)), slot)
    with connection.transaction():
        begun = connection.execute(sql.query("checkpoint_begin"), _position(settings, start, slot)).rowcount == 1
        if begun and not numbered and start == "now":  # then marks say what is published, and not a snapshot
            connection.execute(*_marks(settings, found))
    return begun


def plan(  # noqa: PLR0913 - what `begin` takes, and how the table is before and after
    connection: psycopg.Connection[Any],
    settings: RelaySettings,
    now: TableFacts,
    then: TableFacts,
    start: From,
    *,
    slot: str | None,
) -> Iterator[str]:
    """Yield what `begin` would run on a table that is as `now` and will be as `then`; raises what it would raise."""
    written = psycopg.ClientCursor(connection).mogrify
    partitions = not settings.owner.partition.whole
    divided = partitions and not lacking(connection) and positions.begun(connection, settings)
    if has_tx(then) and now.kind is not None and not divided:
        if start == "start":
            _require_no_other(connection, settings, now)
        yield from numbering(connection, settings, now, _which(start))
    if partitions:
        yield from positions.plan(connection, settings, positions.Beginning(_snapshot(start)), slot, divided=divided)
        return
    yield f"{written(sql.query('checkpoint_begin'), _position(settings, start, slot))};"
    if not has_tx(then) and start == "now" and now.kind is not None:
        yield f"{written(*_marks(settings, then))};"


def replace(connection: psycopg.Connection[Any], settings: RelaySettings, found: TableFacts, *, vacant: bool) -> None:
    """Replace a position of another server by one that begins now; raises SourceRefused.

    The relay takes that of its partition before, if the partition is `vacant`. The table can be polled.
    """
    numbered = has_tx(found)
    if numbered:
        number(connection, settings, found)
    with connection.transaction():
        if vacant:
            positions.take(connection, settings, positions.Beginning(), slot=None)
        replaced = connection.execute(sql.query("checkpoint_replace"), _replacement(settings)).rowcount == 1
        if replaced and not numbered:
            connection.execute(*_marks(settings, found))
    if not replaced:
        raise PositionLost(
            "the stored position has just been replaced by somebody else",
            remedy="run `relay setup` without --accept-gap",
        )


def plan_replacement(
    connection: psycopg.Connection[Any], settings: RelaySettings, now: TableFacts, then: TableFacts, *, vacant: bool
) -> Iterator[str]:
    """Yield what `replace` would run on a table that is as `now` and will be as `then`."""
    written = psycopg.ClientCursor(connection).mogrify
    if has_tx(then):
        yield from numbering(connection, settings, now)
    if vacant:
        yield from positions.plan(connection, settings, positions.Beginning(), slot=None, divided=True)
    yield f"{written(sql.query('checkpoint_replace'), _replacement(settings))};"
    if not has_tx(then):
        yield f"{written(*_marks(settings, then))};"


def numbering(
    connection: psycopg.Connection[Any], settings: RelaySettings, found: TableFacts, which: str = FOREIGN
) -> Iterator[str]:
    """Yield what `number` would run, in one statement for each table that holds rows."""
    if not _left(connection, settings, found, which):
        return
    written = psycopg.ClientCursor(connection).mogrify
    for schema, table in found.leaves:
        update = SQL(sql.query("tx_fill")).format(table=Identifier(schema, table), which=SQL(which))
        yield f"-- By {_BLOCKS} blocks a transaction:\n{written(update, {'begin': '(0,0)', 'end': _LAST})};"


def _position(settings: RelaySettings, start: From, slot: str | None) -> dict[str, Any]:
    """Return the first position; its snapshot is None for what is visible now."""
    snapshot = _snapshot(start)
    return {"name": settings.name, "slot": slot, "outboxes": settings.outboxes, "snapshot": snapshot and str(snapshot)}


def _replacement(settings: RelaySettings) -> dict[str, Any]:
    return {"name": settings.name, "outboxes": settings.outboxes}


def _snapshot(start: From) -> Snapshot | None:
    """Return what counts as published; None for what is visible now."""
    return _SEES_NOTHING if start == "start" else None


def _marks(settings: RelaySettings, found: TableFacts) -> tuple[Composed, dict[str, Any]]:
    marks = statements(settings.layout(partitioned=found.partitioned), found, batch=1).mark_all
    return marks, {"relay": settings.name, "outbox": settings.table}


def _which(start: From) -> str:
    """Return which rows get a number."""
    return f"{_OLD} OR {FOREIGN}" if start == "start" else FOREIGN


def number(
    connection: psycopg.Connection[Any], settings: RelaySettings, found: TableFacts, which: str = FOREIGN
) -> None:
    """Give the rows `which` a number of this server; a row that is updated meanwhile takes another pass."""
    for _ in range(_PASSES):
        if not _left(connection, settings, found, which):
            return
        for schema, table in found.leaves:
            _fill(connection, Identifier(schema, table), which)
    raise SourceRefused(
        f"rows of {settings.table} could not be given a transaction's number: they stay as they were",
        remedy="a trigger of the table may refuse updates: ALTER TABLE ... DISABLE TRIGGER it while setup runs",
    )


def _left(connection: psycopg.Connection[Any], settings: RelaySettings, found: TableFacts, which: str) -> bool:
    """Return whether there are rows `which` are to be numbered."""
    old, foreign = _unknown(connection, settings, found)
    return foreign or (old and which != FOREIGN)


def _unknown(connection: psycopg.Connection[Any], settings: RelaySettings, found: TableFacts) -> tuple[bool, bool]:
    """Return whether there are rows from before the column, which may be yet to come, and of another server."""
    table = Identifier(*settings.outbox_table.split(".", 1))
    query = sql.query("tx_unknown" if has_tx(found) else "tx_none")
    row = connection.execute(SQL(query).format(table=table)).fetchone()
    assert row is not None  # noqa: S101 - the query always returns one row
    return row[0], row[1]


def _fill(connection: psycopg.Connection[Any], table: Identifier, which: str) -> None:
    size = connection.execute(sql.query("tx_blocks"), {"table": table.as_string(connection)}).fetchone()
    assert size is not None  # noqa: S101 - the query always returns one row
    fill = SQL(sql.query("tx_fill")).format(table=table, which=SQL(which))
    for block in range(0, size[0] + 1, _BLOCKS):
        connection.execute(fill, {"begin": f"({block},0)", "end": f"({block + _BLOCKS},0)"})


def _require_no_other(connection: psycopg.Connection[Any], settings: RelaySettings, found: TableFacts) -> None:
    """Raise SourceRefused if rows from before the column would be published again by another relay."""
    if not present(connection, ["relay"]) or not _unknown(connection, settings, found)[0]:
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
