"""Goes on after pg_upgrade, which makes a server with another identity out of the same files.

Transactions keep their numbers (https://www.postgresql.org/docs/current/pgupgrade.html), so the stored snapshot says
what was published as before. The WAL begins anew, and before PostgreSQL 17 the slots are gone. So the relay polls from
the stored snapshot, and goes back to the WAL over a new slot, as always (relay/sources/handover/handover.py).

A dump and restore changes the identity too, and renumbers transactions. Its rows say so: each was inserted by another
transaction than the one in its `tx`.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from outboxkit import sql
from relay.core.errors import PositionLost, SourceRefused
from relay.core.position import Snapshot
from relay.operating import outbox
from relay.operating.setup.dividing import positions
from relay.operating.setup.dividing.fitting import unnoted
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources.preconditions import require_state
from relay.sources.wal.ownership import OtherServer, anew, differences, require_slot


def accept(connection: psycopg.Connection[Any], settings: RelaySettings) -> str:
    """Make the stored position one of this server, and return a line; raises SourceRefused if it cannot be.

    A relay that has none takes that of its partition, if that is the one to go on from.
    """
    with connection.transaction():  # what is refused takes nothing
        if _takes(connection, settings):
            positions.take(connection, settings, positions.Beginning(), _slot(settings))
        snapshot, parameters = _accepted(connection, settings)
        if snapshot is None:
            return "upgrade: the position is of this server already"
        if (settings.name,) not in connection.execute(sql.query("upgrade_accept"), parameters).fetchall():
            raise PositionLost(
                "the stored position has just been written by somebody else",
                remedy="stop the relay, then run `relay setup --accept-upgrade` again",
            )
    then = "" if settings.source == "polling" else ", then makes a new slot"
    return f"upgrade: the relay polls from snapshot {snapshot}{then}"


def plan(connection: psycopg.Connection[Any], settings: RelaySettings) -> Iterator[str]:
    """Yield the SQL that `accept` would run, nothing if that is done; raises what it would raise."""
    written = psycopg.ClientCursor(connection).mogrify
    with connection.transaction(force_rollback=True):  # the position is taken, and given back
        if _takes(connection, settings):
            slot, beginning = _slot(settings), positions.Beginning()
            yield from positions.plan(connection, settings, beginning, slot, divided=True)
            positions.take(connection, settings, beginning, slot)
        snapshot, parameters = _accepted(connection, settings)
        if snapshot is not None:
            yield f"{written(sql.query('upgrade_accept'), parameters)};"


def _takes(connection: psycopg.Connection[Any], settings: RelaySettings) -> bool:
    """Return whether the relay takes the position of its partition; raises NotOurs if it must not take it or its slot.

    Whatever the relay reads, its slot is made after it has polled.
    """
    facts = slots.facts(connection, settings)
    if facts.state is not None or positions.vacant_elsewhere(connection, settings) is None:
        return False
    if settings.source != "polling":
        require_slot(facts, settings.owner)
        if facts.slot is not None:
            raise unnoted(settings.slot)
    return True


def _slot(settings: RelaySettings) -> str | None:
    return None if settings.source == "polling" else settings.slot


def _accepted(connection: psycopg.Connection[Any], settings: RelaySettings) -> tuple[Snapshot | None, dict[str, Any]]:
    """Return the snapshot to poll from, None if the position is of this server already, and the query's parameters.

    Raises SourceRefused if the position cannot be made one of this server.
    """
    facts = slots.facts(connection, settings)
    state = require_state(facts, settings.name)
    others = [problem for problem in differences(facts, settings.owner) if not isinstance(problem, OtherServer)]
    if others:
        raise others[0]
    if facts.checkpoint_system == facts.system_identifier:
        return None, {}
    outbox.require_pollable(outbox.facts(connection, settings), settings)
    gap = anew(settings.owner)
    if state.snapshot is None:
        raise SourceRefused("no snapshot is stored that says what was published in terms of the table", remedy=gap)
    if not _keeps_numbers(connection, settings, state.snapshot):
        raise SourceRefused(
            "transactions have other numbers on this server: it was not made by pg_upgrade, as by a dump and restore",
            remedy=gap,
        )
    return state.snapshot, {"name": settings.name, "epoch": facts.checkpoint_epoch}


def _keeps_numbers(connection: psycopg.Connection[Any], settings: RelaySettings, stored: Snapshot) -> bool:
    now = connection.execute(sql.query("snapshot_now")).fetchone()
    table = Identifier(*settings.outbox_table.split(".", 1))
    rows = connection.execute(SQL(sql.query("upgrade_rows")).format(table=table)).fetchone()
    assert now is not None  # noqa: S101 - the query always returns one row
    assert rows is not None  # noqa: S101 - the query always returns one row
    there, ours = rows
    return stored.xmax <= Snapshot.parse(now[0]).xmax and (ours > 0 or there == 0)
