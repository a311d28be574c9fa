"""The statements of `relay slot`: reading and dropping the replication slot, and skipping transactions.

Transactions are listed from a temporary copy of the slot, without rows of any table. Only `skip` changes the slot's
position and the checkpoint.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from outboxkit import sql
from outboxkit.errors import Problem
from relay.core import evidence
from relay.core.errors import PositionLost, SlotHeld, SlotMissing, SourceRefused
from relay.core.position import Lsn
from relay.core.transactions import Transactions
from relay.settings import RelaySettings
from relay.sources.preconditions import require_state
from relay.sources.wal.ownership import OtherOutbox, OtherSlot, differences, require_position, require_slot
from relay.storage.facts import Facts
from relay.storage.parking import parameters
from relay.storage.position import saved_as

# Unlike pgoutput, this plugin can filter out all tables and still send the transactions, which are then empty.
READER = "wal2json"
OUTBOX = "outbox.event"
STOP_THEN_DROP = "stop the relay, then run `relay slot drop` again"
STOP_THEN_SKIP = "stop every relay of this slot, then run `relay slot skip` again"
_NO_CHECKPOINT = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.InsufficientPrivilege,
)
_ANY_NUMBER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Slot:
    """One replication slot, the columns of sql/queries/slot_show.sql. Sizes are bytes; None is unknown."""

    name: str
    plugin: str | None
    database: str | None
    temporary: bool
    holder_pid: int | None
    holder_name: str | None
    holder_since: datetime | None
    holder_address: str | None
    holder_reported_at: datetime | None
    """When the holder's last status update reached its walsender."""
    current_lsn: str
    confirmed_flush_lsn: str | None
    restart_lsn: str | None
    lag_bytes: int | None
    retained_bytes: int | None
    wal_status: str | None
    safe_wal_size: int | None
    invalidation_reason: str | None
    inactive_since: datetime | None
    failover: bool | None = None
    """Whether standbys may keep a copy of it; None before PostgreSQL 17."""

    @property
    def lost(self) -> bool:
        """Whether Postgres has invalidated it: it can no longer be read."""
        return self.wal_status == "lost" or self.invalidation_reason is not None

    @property
    def why_lost(self) -> str:
        """Why it is lost."""
        return self.invalidation_reason or "Postgres removed WAL that it needed"

    @property
    def holder(self) -> str:
        """Who streams from it, as text; empty if nobody does."""
        if self.holder_pid is None:
            return ""
        since = f", since {self.holder_since:%Y-%m-%d %H:%M:%S %Z}" if self.holder_since else ""
        place = f" at {self.holder_address}" if self.holder_address else ""
        return f"{self.holder_name or 'a session'}{place}, pid {self.holder_pid}{since}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A relay's stored position, the columns of sql/queries/slot_checkpoint.sql."""

    slot: str | None
    mode: str
    """The source that the active relay reads: wal or polling."""
    lsn: str | None
    snapshot: str | None
    making_slot: bool
    wanted: str
    system_identifier: str
    timeline: int
    updated_at: datetime
    replay_slot: str | None = None
    """The slot that keeps WAL for replays, if the relay has made one."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A committed transaction that the slot has not sent yet."""

    xid: int
    """Its low 32 bits: a stream carries no more."""
    commit_lsn: str
    """Where its commit record begins. A slot beyond it never sends the transaction again."""
    end_lsn: str
    """Where the next record begins: the lowest position that skips this transaction."""
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class SkippedEvent:
    """An outbox event of a transaction to skip."""

    xid: int
    id: str | None
    """None for one that cannot be read, as all but `problem` is then."""
    aggregate_type: str | None
    aggregate_id: str | None
    aggregate_version: int | None
    event_type: str | None
    created_at: datetime | None
    problem: str | None = None
    """Why it cannot be read."""


def find(connection: psycopg.Connection[Any], slot: str) -> Slot | None:
    """Return `slot`; None if it does not exist."""
    cursor = connection.cursor(row_factory=class_row(Slot))
    return cursor.execute(sql.query("slot_show"), {"slot": slot}).fetchone()


def facts(connection: psycopg.Connection[Any], settings: RelaySettings) -> Facts:
    """Return what the server says of the relay's slot and stored position, to judge whose they are."""
    parameters = {"slot": settings.slot, "name": settings.name, "table": settings.table}
    found = connection.cursor(row_factory=class_row(Facts)).execute(sql.query("source_facts"), parameters).fetchone()
    assert found is not None  # noqa: S101 - the query always returns one row
    return found


def require_ours(connection: psycopg.Connection[Any], settings: RelaySettings) -> Facts:
    """Return what the server says of the slot; raises NotOurs if it, or the stored position, is not this relay's."""
    found = facts(connection, settings)
    require_slot(found, settings.owner)
    require_position(found, settings.owner)
    return found


def require_droppable(connection: psycopg.Connection[Any], settings: RelaySettings) -> None:
    """Raise NotOurs if the slot belongs to another database, relay or outbox; a position of another server is none."""
    found = facts(connection, settings)
    require_slot(found, settings.owner)
    for problem in differences(found, settings.owner):
        if isinstance(problem, OtherOutbox | OtherSlot):
            raise problem


def require_a_reader(settings: RelaySettings, what: str) -> None:
    """Raise SourceRefused if the relay only polls, so that a command about its slot would `what`."""
    if settings.source == "polling":
        raise SourceRefused(
            f"RELAY_SOURCE is polling: the relay has no slot, and this would {what}",
            remedy="set RELAY_SOURCE=auto or wal, and start the relay again, if it is to read a slot",
        )


def usable(connection: psycopg.Connection[Any], settings: RelaySettings) -> Slot:
    """Return the slot; raises SlotMissing if it does not exist or is lost."""
    slot = settings.slot
    found = find(connection, slot)
    if found is None:
        raise missing(settings)
    if found.lost:
        raise SlotMissing(
            f"replication slot {slot!r} is lost: {found.why_lost}",
            remedy="run `relay setup`, which says what may be missing and how to continue",
        )
    return found


def missing(settings: RelaySettings) -> SlotMissing:
    """Return the problem of a slot that does not exist."""
    polls = settings.source == "polling"
    return SlotMissing(
        f"replication slot {settings.slot!r} does not exist",
        remedy="none is needed: RELAY_SOURCE is polling, which has no slot" if polls else "run `relay setup`",
    )


def checkpoint(connection: psycopg.Connection[Any], name: str) -> Checkpoint | None:
    """Return the stored position of relay `name`; None if it has none."""
    cursor = connection.cursor(row_factory=class_row(Checkpoint))
    return cursor.execute(sql.query("slot_checkpoint"), {"name": name}).fetchone()


def replay_slot(connection: psycopg.Connection[Any], name: str) -> Slot | None:
    """Return the slot that relay `name` keeps for replays in this database; None if there is none, or it is unknown."""
    try:
        stored = checkpoint(connection, name)
    except _NO_CHECKPOINT:
        return None
    noted = None if stored is None or stored.replay_slot is None else find(connection, stored.replay_slot)
    return noted if noted is not None and noted.database == connection.info.dbname and not noted.temporary else None


def require_free(slot: Slot, *, remedy: str) -> None:
    """Raise SlotHeld, with the holder's name, if `slot` is in use."""
    if slot.holder_pid is not None:
        raise SlotHeld(f"replication slot {slot.name!r} is held by {slot.holder}", remedy=remedy)


def drop(connection: psycopg.Connection[Any], slot: str) -> None:
    """Drop `slot`; raises SlotHeld if it is in use by now."""
    try:
        connection.execute(sql.query("slot_drop"), {"slot": slot})
    except psycopg.errors.ObjectInUse as error:
        raise SlotHeld(str(error.diag.message_primary), remedy=STOP_THEN_DROP) from error


def confirmed(connection: psycopg.Connection[Any], slot: Slot, name: str) -> Lsn:
    """Return the position that relay `name` has confirmed: the slot's, or the stored one if it is higher.

    A crash of Postgres can set back the slot's position. The stored one is valid only on the system it was stored for.
    """
    position = Lsn.parse(slot.confirmed_flush_lsn or "0/0")
    stored = checkpoint(connection, name)
    here = connection.execute(sql.query("slot_position"), {"slot": slot.name}).fetchone()
    if stored is None or stored.lsn is None or here is None or stored.system_identifier != here[1]:
        return position
    return max(position, Lsn.parse(stored.lsn))


def unconfirmed(
    connection: psycopg.Connection[Any], slot: Slot, *, after: Lsn, before: Lsn | None = None, limit: int = _ANY_NUMBER
) -> list[Transaction]:
    """Return at most `limit` transactions that `slot` has not sent and that commit after `after`, in commit order.

    With `before`, only those that a slot at that position never sends. It reads the WAL from the slot's restart LSN,
    which is slow after a long outage. Raises psycopg's errors.
    """
    with copied(connection, slot, plugin=READER, after=after) as copy:
        rows = min(_ANY_NUMBER, 2 * limit)  # a BEGIN and a COMMIT for each
        upto = None if before is None else str(before)
        cursor = connection.cursor(row_factory=class_row(Transaction))
        cursor.execute(sql.query("slot_peek"), {"slot": copy, "upto": upto, "rows": rows})
        return [found for found in cursor if before is None or Lsn.parse(found.commit_lsn) < before]


@contextmanager
def copied(connection: psycopg.Connection[Any], slot: Slot, *, plugin: str, after: Lsn) -> Iterator[str]:
    """Make a temporary copy of `slot` that begins after `after`, for the block."""
    copy = f"peek_{secrets.token_hex(6)}"
    connection.execute(sql.query("slot_copy"), {"slot": slot.name, "copy": copy, "plugin": plugin})
    try:
        if after > Lsn.parse(slot.confirmed_flush_lsn or "0/0"):
            connection.execute(sql.query("slot_advance"), {"slot": copy, "lsn": str(after)})
        yield copy
    finally:
        with suppress(psycopg.Error):  # after an error it no longer exists
            connection.execute(sql.query("slot_drop"), {"slot": copy})


def events(
    connection: psycopg.Connection[Any], settings: RelaySettings, transactions: Sequence[Transaction]
) -> list[SkippedEvent]:
    """Return the rows of outbox.event that `transactions` wrote and the relay publishes. Raises psycopg's errors."""
    cursor = connection.cursor(row_factory=class_row(SkippedEvent))
    asked = {"xids": _xids(transactions), **settings.owner.partition.parameters()}
    return cursor.execute(sql.query("slot_events"), asked).fetchall()


def require_readable(connection: psycopg.Connection[Any], transactions: Sequence[Transaction]) -> None:
    """Raise a Problem if outbox.event does not show all rows of `transactions`: what is not seen would be lost."""
    row = connection.execute(sql.query("slot_readable"), {"xids": _xids(transactions)}).fetchone()
    hidden, unseen = row or (False, [])
    if hidden:
        raise Problem(
            f"row-level security hides rows of {OUTBOX} from role {connection.info.user!r}: which events would be "
            "skipped is not known",
            remedy=f"run it as a role with BYPASSRLS, or ALTER TABLE {OUTBOX} DISABLE ROW LEVEL SECURITY",
        )
    if unseen:
        raise Problem(
            f"transaction {unseen[0]} is committed and not visible yet: it waits for a synchronous standby",
            remedy="run it again when the standby has answered; pg_stat_activity shows who waits for SyncRep",
        )


def park(
    connection: psycopg.Connection[Any], settings: RelaySettings, rows: Sequence[dict[str, Any]], after: Lsn
) -> None:
    """Park `rows`, at least one, made by relay.storage.parking."""
    whose = {"relay": settings.name, "outbox": settings.outboxes[0], "replayed": False}
    connection.execute(sql.query("park"), parameters(rows, after=after) | whose)


def park_rows(
    connection: psycopg.Connection[Any],
    settings: RelaySettings,
    transactions: Sequence[Transaction],
    *,
    after: Lsn,
    detail: str,
) -> None:
    """Park what `events` finds of `transactions`."""
    parking = {
        "xids": _xids(transactions),
        "relay": settings.name,
        "outbox": settings.outboxes[0],
        "after_lsn": str(after),
        "detail": detail,
        **settings.owner.partition.parameters(),
    }
    connection.execute(sql.query("slot_park_skipped"), parking)


def skip(  # noqa: PLR0913 - what is skipped, and how
    connection: psycopg.Connection[Any],
    settings: RelaySettings,
    found: Facts,
    *,
    to: Lsn,
    skipped: Sequence[Transaction],
    park: Callable[[], None],
) -> None:
    """Park and store the position `to`, then advance the slot to it.

    Raises PositionLost, and changes nothing, if the position has been written since it was `found`.
    In this order: whenever it fails, each event is in relay.parked, or in the stream, or in both, and the slot is never
    ahead of the stored position.
    """
    with connection.transaction():
        park()
        _store(connection, settings, found, to, skipped)
    advance(connection, settings.slot, to)


def advance(connection: psycopg.Connection[Any], slot: str, to: Lsn) -> None:
    """Advance `slot` to `to`; raises SlotHeld if it is in use by now."""
    try:
        connection.execute(sql.query("slot_advance"), {"slot": slot, "lsn": str(to)})
    except psycopg.errors.ObjectInUse as error:
        raise SlotHeld(str(error.diag.message_primary), remedy=STOP_THEN_SKIP) from error


def _xids(transactions: Sequence[Transaction]) -> list[int]:
    return [each.xid for each in transactions]


def _store(
    connection: psycopg.Connection[Any], settings: RelaySettings, found: Facts, to: Lsn, skipped: Sequence[Transaction]
) -> None:
    """Store `to` where the row is still as it was `found`; raises PositionLost if it was written meanwhile.

    A poll passes over what was `skipped`, too.
    """
    state = require_state(found, settings.name)
    streamed = Transactions(state.streamed.ranges())
    for (transaction,) in connection.execute(sql.query("transaction_ids"), {"xids": _xids(skipped)}):
        streamed.add(transaction)
    saving = saved_as(
        settings.owner,
        replace(state, lsn=to, streamed=streamed),
        evidence.NONE,
        epoch=found.checkpoint_epoch,
        server_started_at=found.server_started_at,
        relations=found.relations,
    )
    row = connection.execute(sql.query("checkpoint_save"), saving).fetchone()
    if row is None or row[0] is None:
        raise PositionLost("the stored position has just been written by somebody else", remedy=STOP_THEN_SKIP)
