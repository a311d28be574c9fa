"""The questions of `relay replay` about the past and the table: read only, in one transaction of the caller."""

from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row

from outboxkit import sql
from outboxkit.errors import Problem
from relay.core.position import Lsn, Snapshot
from relay.core.replay import Selection, TableRange
from relay.operating import outbox
from relay.operating.replay.ranges.asked import AtEvent
from relay.operating.replay.ranges.found import Count, NotKept
from relay.operating.replay.ranges.rounding import AtTransaction, Noted, Past, Retired
from relay.settings import RelaySettings
from relay.sources import tables
from relay.sources.layout import NATIVE
from relay.sources.polling.statements import counting, finding, require_tx


def past(connection: psycopg.Connection[Any], settings: RelaySettings) -> Past:
    """Return the positions of the past that this server can have given, what is gone, and the present."""
    cursor = connection.cursor(row_factory=dict_row)
    now = cursor.execute(sql.query("replay_now")).fetchone()
    assert now is not None  # noqa: S101 - the query always returns one row
    rows = cursor.execute(sql.query("replay_history"), {"relay": settings.name}).fetchall()
    retired: list[Retired] = []
    if settings.table == NATIVE.name:
        retired = [Retired(**row) for row in cursor.execute(sql.query("replay_retired"))]
    return Past([_noted(row) for row in rows], retired, _noted(now))


class Table:
    """The outbox table of `settings`, asked through `connection`; raises SourceRefused if it is none of replays."""

    def __init__(self, connection: psycopg.Connection[Any], settings: RelaySettings) -> None:
        self._connection = connection
        self._facts = outbox.facts(connection, settings)
        layout = outbox.layout(self._facts, settings)
        if layout is None:
            raise NotKept(
                "an outbox of logical messages has no table",
                remedy="none of its rows can be replayed from one",
            )
        tables.check_rows(self._facts, layout)
        require_tx(layout, self._facts)
        self.layout = layout

    def event(self, asked: AtEvent, *, may_be_gone: bool) -> AtTransaction:
        """Return the event with its transaction; raises a Problem if the table does not have it."""
        name = self.layout.name
        row = self._connection.execute(finding(self.layout), {"id": asked.id}).fetchone()
        if row is not None and row[0] is not None:
            return AtTransaction(asked.id, row[0])
        if may_be_gone:
            raise NotKept(
                f"event {asked.id} is not in {name}",
                remedy="correct the id; if the event was removed with its partition, give a later one, or a time",
            )
        raise Problem(f"event {asked.id} is not in {name}", remedy="correct the id: it is that of the message")

    def count(self, of: TableRange, selection: Selection, *, beyond: int | None = None) -> Count:
        """Count the events of a range that `selection` takes; `beyond` a number if it is not None."""
        asked = {
            "xmax": str(of.after.xmax), "running": [*map(str, of.after.running)], "now": str(of.until),
            "beyond": beyond,
        }  # fmt: skip
        cursor = self._connection.cursor(row_factory=class_row(Count))
        counted = cursor.execute(counting(self.layout, self._facts, selection), asked).fetchone()
        assert counted is not None  # noqa: S101 - the query always returns one row
        return counted


def _noted(row: dict[str, Any]) -> Noted:
    return Noted(row["at"], Lsn.parse(row["lsn"]), Snapshot.parse(row["snapshot"]), row["next"], row["timeline"])
