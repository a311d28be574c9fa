"""The replication slot, for operators: how it stands, making and dropping it, and stepping over what cannot be decoded.

Nothing here streams. What lies between the slot and an LSN is told by a temporary copy of the slot, read without any
table's rows; neither slot nor checkpoint moves before `skip` is called.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from outboxkit import sql
from relay.core.errors import SlotHeld, SlotMissing
from relay.core.position import Lsn
from relay.settings import RelaySettings
from relay.storage.refusals import from_postgres

# Reading without rows takes a plugin that can filter tables and still tells transactions; pgoutput omits empty ones.
READER = "wal2json"
OUTBOX = "outbox.event"
_ANY_NUMBER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Slot:
    """One replication slot, as sql/queries/slot_show.sql tells it; sizes are bytes, None where Postgres tells none."""

    name: str
    plugin: str | None
    database: str | None
    temporary: bool
    holder_pid: int | None
    holder_name: str | None
    holder_since: datetime | None
    holder_address: str | None
    holder_reported_at: datetime | None
    """When its walsender last took a report from it."""
    current_lsn: str
    confirmed_flush_lsn: str | None
    restart_lsn: str | None
    lag_bytes: int | None
    retained_bytes: int | None
    wal_status: str | None
    safe_wal_size: int | None
    invalidation_reason: str | None
    inactive_since: datetime | None

    @property
    def lost(self) -> bool:
        """Whether Postgres has invalidated it: nothing can be read from it any more."""
        return self.wal_status == "lost" or self.invalidation_reason is not None

    @property
    def holder(self) -> str:
        """Who streams from it, in words; empty if nobody does."""
        if self.holder_pid is None:
            return ""
        since = f", since {self.holder_since:%Y-%m-%d %H:%M:%S %Z}" if self.holder_since else ""
        place = f" at {self.holder_address}" if self.holder_address else ""
        return f"{self.holder_name or 'a session'}{place}, pid {self.holder_pid}{since}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A relay's stored position, as sql/queries/slot_checkpoint.sql tells it."""

    slot: str
    lsn: str
    system_identifier: str
    timeline: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Transaction:
    """A committed transaction that a slot has still to send."""

    xid: int
    """Its low 32 bits, which is all that a stream tells."""
    commit_lsn: str
    """Where its commit record begins: a slot that stands beyond it never sends it again."""
    end_lsn: str
    """Where the next record begins: the least position that steps over this transaction."""
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class SkippedEvent:
    """An outbox event of a transaction that is to be skipped."""

    xid: int
    id: str
    aggregate_type: str
    aggregate_id: str
    aggregate_version: int
    event_type: str
    created_at: datetime


@contextmanager
def connected(settings: RelaySettings, purpose: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect as `<relay> <purpose>`; whatever Postgres refuses inside the block is raised as a Problem."""
    try:
        with psycopg.connect(
            settings.database_url.get_secret_value(),
            autocommit=True,
            application_name=f"{settings.name} {purpose}",
            connect_timeout=10,
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise from_postgres(error, slot=settings.slot) from error


def find(connection: psycopg.Connection[Any], slot: str) -> Slot | None:
    """Return how `slot` stands; None if there is no such slot."""
    cursor = connection.cursor(row_factory=class_row(Slot))
    return cursor.execute(sql.query("slot_show"), {"slot": slot}).fetchone()


def usable(connection: psycopg.Connection[Any], slot: str) -> Slot:
    """Return how `slot` stands; raises SlotMissing when it is not there or lost."""
    found = find(connection, slot)
    if found is None:
        raise SlotMissing(f"replication slot {slot!r} does not exist", remedy="run `relay setup`")
    if found.lost:
        reason = found.invalidation_reason or "Postgres removed WAL that it needed"
        raise SlotMissing(
            f"replication slot {slot!r} is lost: {reason}",
            remedy="run `relay setup`, which says what may have been missed and how to go on",
        )
    return found


def checkpoint(connection: psycopg.Connection[Any], name: str) -> Checkpoint | None:
    """Return the stored position of relay `name`; None if it has none."""
    cursor = connection.cursor(row_factory=class_row(Checkpoint))
    return cursor.execute(sql.query("slot_checkpoint"), {"name": name}).fetchone()


def require_free(slot: Slot, *, why: str) -> None:
    """Raise SlotHeld, naming the holder, while somebody streams from `slot`."""
    if slot.holder_pid is not None:
        raise SlotHeld(f"replication slot {slot.name!r} is held by {slot.holder}", remedy=why)


def drop(connection: psycopg.Connection[Any], slot: str) -> None:
    """Drop `slot`; raises SlotHeld when somebody took it meanwhile."""
    try:
        connection.execute(sql.query("slot_drop"), {"slot": slot})
    except psycopg.errors.ObjectInUse as error:
        raise SlotHeld(str(error.diag.message_primary), remedy="stop the relay, then drop its slot") from error


def confirmed(connection: psycopg.Connection[Any], slot: Slot, name: str) -> Lsn:
    """Return up to where relay `name` has confirmed: the slot's own position, or the stored one if it is further.

    A crash of Postgres sets the slot's own position back; the stored one counts on the system that it was stored on.
    """
    position = Lsn.parse(slot.confirmed_flush_lsn or "0/0")
    stored = checkpoint(connection, name)
    if stored is None or stored.system_identifier != _where(connection, slot.name).system_identifier:
        return position
    return max(position, Lsn.parse(stored.lsn))


def unconfirmed(
    connection: psycopg.Connection[Any], slot: Slot, *, after: Lsn, before: Lsn | None = None, limit: int = _ANY_NUMBER
) -> list[Transaction]:
    """Return at most `limit` of the transactions that `slot` has still to send after `after`, in commit order.

    With `before`, only those that a slot which stands there never sends. It reads the WAL from the slot's restart LSN
    on, which takes a while after a long outage. Raises psycopg's errors.
    """
    copy = f"peek_{secrets.token_hex(6)}"
    connection.execute(sql.query("slot_copy"), {"slot": slot.name, "copy": copy, "plugin": READER})
    try:
        if after > Lsn.parse(slot.confirmed_flush_lsn or "0/0"):
            connection.execute(sql.query("slot_advance"), {"slot": copy, "lsn": str(after)})
        rows = min(_ANY_NUMBER, 2 * limit)  # a BEGIN and a COMMIT for each
        upto = None if before is None else str(before)
        cursor = connection.cursor(row_factory=class_row(Transaction))
        cursor.execute(sql.query("slot_peek"), {"slot": copy, "upto": upto, "rows": rows})
        return [found for found in cursor if before is None or Lsn.parse(found.commit_lsn) < before]
    finally:
        with suppress(psycopg.Error):  # after an error it is gone already
            connection.execute(sql.query("slot_drop"), {"slot": copy})


def events(connection: psycopg.Connection[Any], transactions: Sequence[Transaction]) -> list[SkippedEvent]:
    """Return the rows of outbox.event that `transactions` wrote; raises SourceRefused where it cannot be read."""
    cursor = connection.cursor(row_factory=class_row(SkippedEvent))
    return cursor.execute(sql.query("slot_events"), {"xids": [each.xid for each in transactions]}).fetchall()


def skip(
    connection: psycopg.Connection[Any],
    settings: RelaySettings,
    *,
    after: Lsn,
    to: Lsn,
    skipped: Sequence[SkippedEvent],
) -> None:
    """Park `skipped`, then move the slot and the stored position from `after` to `to`.

    In this order: whatever ends it in between, an event is in relay.parked or still to come, and perhaps both.
    """
    parking = {
        "ids": [event.id for event in skipped],
        "relay": settings.name,
        "after_lsn": str(after),
        "detail": f"`relay slot skip --to {to}` stepped over its transaction",
    }
    connection.execute(sql.query("slot_park_skipped"), parking)
    try:
        connection.execute(sql.query("slot_advance"), {"slot": settings.slot, "lsn": str(to)})
    except psycopg.errors.ObjectInUse as error:
        raise SlotHeld(str(error.diag.message_primary), remedy="stop every relay of this slot, then skip") from error
    where = _where(connection, settings.slot)
    connection.execute(
        sql.query("checkpoint_save"),
        {
            "name": settings.name,
            "slot": settings.slot,
            "lsn": str(to),
            "snapshot": None,
            "plugin": where.plugin,
            "outboxes": settings.outboxes,
            "system_identifier": where.system_identifier,
            "timeline": where.timeline_id,
        },
    )


@dataclass(frozen=True, slots=True)
class _Where:
    confirmed_flush_lsn: str
    plugin: str
    system_identifier: str
    timeline_id: int


def _where(connection: psycopg.Connection[Any], slot: str) -> _Where:
    cursor = connection.cursor(row_factory=class_row(_Where))
    row = cursor.execute(sql.query("slot_position"), {"slot": slot}).fetchone()
    if row is None:
        raise SlotMissing(f"replication slot {slot!r} was dropped meanwhile", remedy="run `relay setup`")
    return row
