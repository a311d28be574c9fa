"""Goes on after pg_upgrade, which makes a server with another identity out of the same files.

Transactions keep their numbers (https://www.postgresql.org/docs/current/pgupgrade.html), so the stored snapshot says
what was published as before. The WAL begins anew, and before PostgreSQL 17 the slots are gone. So the relay polls from
the stored snapshot, and goes back to the WAL over a new slot, as always (relay/sources/handover/handover.py).

A dump and restore changes the identity too, and renumbers transactions. Its rows say so: each was inserted by another
transaction than the one in its `tx`.
"""

from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from outboxkit import sql
from relay.core.errors import PositionLost, SourceRefused
from relay.core.position import Snapshot
from relay.operating import outbox
from relay.operating.setup.dividing import positions
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources.preconditions import require_state
from relay.sources.wal.ownership import OtherServer, anew, differences


def accept(connection: psycopg.Connection[Any], settings: RelaySettings) -> str:
    """Make the stored position one of this server, and return a line; raises SourceRefused if it cannot be.

    A relay that has none takes that of its partition, if that is the one to go on from.
    """
    with connection.transaction():  # what is refused takes nothing
        begins = slots.facts(connection, settings).state is None
        if begins and positions.vacant_elsewhere(connection, settings) is not None:
            slot = None if settings.source == "polling" else settings.slot
            positions.take(connection, settings, positions.Beginning(), slot)
        return _accept(connection, settings)


def _accept(connection: psycopg.Connection[Any], settings: RelaySettings) -> str:
    facts = slots.facts(connection, settings)
    state = require_state(facts, settings.name)
    others = [problem for problem in differences(facts, settings.owner) if not isinstance(problem, OtherServer)]
    if others:
        raise others[0]
    if facts.checkpoint_system == facts.system_identifier:
        return "upgrade: the position is of this server already"
    outbox.require_pollable(outbox.facts(connection, settings), settings)
    gap = anew(settings.owner)
    if state.snapshot is None:
        raise SourceRefused("no snapshot is stored that says what was published in terms of the table", remedy=gap)
    if not _keeps_numbers(connection, settings, state.snapshot):
        raise SourceRefused(
            "transactions have other numbers on this server: it was not made by pg_upgrade, as by a dump and restore",
            remedy=gap,
        )
    parameters = {"name": settings.name, "epoch": facts.checkpoint_epoch}
    if (settings.name,) not in connection.execute(sql.query("upgrade_accept"), parameters).fetchall():
        raise PositionLost(
            "the stored position has just been written by somebody else",
            remedy="stop the relay, then run `relay setup --accept-upgrade` again",
        )
    return f"upgrade: the relay polls from snapshot {state.snapshot}, then makes a new slot"


def _keeps_numbers(connection: psycopg.Connection[Any], settings: RelaySettings, stored: Snapshot) -> bool:
    now = connection.execute(sql.query("snapshot_now")).fetchone()
    table = Identifier(*settings.outbox_table.split(".", 1))
    rows = connection.execute(SQL(sql.query("upgrade_rows")).format(table=table)).fetchone()
    assert now is not None  # noqa: S101 - the query always returns one row
    assert rows is not None  # noqa: S101 - the query always returns one row
    there, ours = rows
    return stored.xmax <= Snapshot.parse(now[0]).xmax and (ours > 0 or there == 0)
