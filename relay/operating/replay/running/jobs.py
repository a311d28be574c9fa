"""The statements of `relay replay` about jobs: each is about those of one relay."""

from typing import Any

import psycopg
from psycopg.rows import dict_row, scalar_row

from outboxkit import sql
from outboxkit.errors import Problem
from relay.core.position import Lsn, Snapshot
from relay.core.replay import Destination, Job, Order, Range, ReplayPosition, Selection, TableRange, WalRange
from relay.settings import RelaySettings


def create(connection: psycopg.Connection[Any], settings: RelaySettings, order: Order) -> Job:
    """Store `order` as a new job of this relay; return it. It does not run yet: it can be resumed."""
    parameters = {
        "relay": settings.name,
        "outbox": settings.outboxes[0],
        **_range(order.range),
        "aggregate_type": order.selection.aggregate_type,
        "aggregate_id": order.selection.aggregate_id,
        "event_type": order.selection.event_type,
        "seqs": order.selection.seqs,
        "exchange": order.destination.exchange,
        "queue": order.destination.queue,
        "rate": order.rate,
        "events": order.events,
    }
    cursor = connection.cursor(row_factory=scalar_row)
    number = cursor.execute(sql.query("replay_create"), parameters).fetchone()
    assert number is not None  # noqa: S101 - the query always returns one row
    return find(connection, settings, number)


def find(connection: psycopg.Connection[Any], settings: RelaySettings, number: int) -> Job:
    """Return the job `number` of this relay; raises a Problem if there is none."""
    rows = _rows(connection, settings, number)
    if not rows:
        raise Problem(
            f"relay {settings.name!r} has no replay {number}", remedy="`relay replay list` shows those that there are"
        )
    return _job(rows[0])


def listed(connection: psycopg.Connection[Any], settings: RelaySettings) -> list[dict[str, Any]]:
    """Return the columns of all jobs of this relay, newest first."""
    return _rows(connection, settings, None)


def _rows(connection: psycopg.Connection[Any], settings: RelaySettings, number: int | None) -> list[dict[str, Any]]:
    cursor = connection.cursor(row_factory=dict_row)
    return cursor.execute(sql.query("replay_list"), {"relay": settings.name, "job": number}).fetchall()


def _range(of: Range) -> dict[str, object]:
    match of:
        case TableRange(after, until):
            return {
                **dict.fromkeys(("slot", "after_lsn", "until_lsn", "first_event", "last_event")),
                "source": "table", "after_snapshot": str(after), "until_snapshot": str(until),
            }  # fmt: skip
        case WalRange():
            return {
                "source": "wal", "after_snapshot": None, "until_snapshot": None, "slot": of.slot,
                "after_lsn": str(of.after), "until_lsn": str(of.until),
                "first_event": of.first_event, "last_event": of.last_event,
            }  # fmt: skip


def _job(row: dict[str, Any]) -> Job:
    of: Range
    if row["source"] == "table":
        of = TableRange(Snapshot.parse(row["after_snapshot"]), Snapshot.parse(row["until_snapshot"]))
    else:
        after, until = Lsn.parse(row["after_lsn"]), Lsn.parse(row["until_lsn"])
        of = WalRange(row["slot"], after, until, row["first_event"], row["last_event"])
    order = Order(
        of,
        Selection(row["aggregate_type"], row["aggregate_id"], row["event_type"], row["seqs"]),
        Destination(row["exchange"], row["queue"]),
        row["rate"],
        row["events"],
    )
    lsn = row["done_lsn"]
    return Job(
        row["job"],
        order,
        row["system_identifier"],
        row["timeline"],
        row["state"],
        ReplayPosition(row["done_seq"], None if lsn is None else Lsn.parse(lsn)),
        row["confirmed"],
        row["parked"],
    )
