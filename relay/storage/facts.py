"""The server's answers, as values. Pure: the modules that ask and the modules that judge share them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from relay.core.hashing.partition import WHOLE, Partition
from relay.core.position import Lsn, Round, Snapshot
from relay.core.transactions import Transactions
from relay.storage.state import Filter, Mode, State


@dataclass(frozen=True, slots=True)
class Owner:
    """Which relay a slot and a position belong to."""

    relay: str
    slot: str
    outboxes: list[str]
    """Tables as `schema.table`, message prefixes as `message:prefix`."""
    partition: Partition = WHOLE
    """Which of their events it publishes."""
    partitioned_by: Sequence[str] = ()
    """The columns of type and id of the aggregate, whose text says in which partition an event is."""

    @property
    def table(self) -> str | None:
        """The outbox table; None if the outbox is messages."""
        return next((each for each in self.outboxes if not each.startswith("message:")), None)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server says before the relay streams; the fields of sql/queries/source_facts.sql."""

    server_encoding: str
    server_version: int
    """As in server_version_num."""
    wal_level: str
    wal_sender_timeout_ms: int
    in_recovery: bool
    server_started_at: datetime
    wal_end: str
    """How far the server's WAL is flushed; on a standby, replayed."""
    system_identifier: str
    database: str
    database_oid: int
    role: str
    may_replicate: bool
    relations: str | None
    """The relations that hold the outbox's rows, as one text to compare: `relay.outbox_relations`."""
    slot: str | None
    plugin: str | None
    slot_database: str | None
    wal_status: str | None
    confirmed_flush_lsn: str | None
    holder_pid: int | None
    holder_name: str | None
    holder_since: datetime | None
    """Hidden from a role that is neither the holder's own nor a member of pg_read_all_stats."""
    checkpoint_epoch: int | None
    """None, like all of the stored position, if the relay has stored none."""
    checkpoint_slot: str | None
    """None also for a relay that was set up to poll."""
    checkpoint_mode: Mode | None
    checkpoint_lsn: str | None
    checkpoint_snapshot: str | None
    checkpoint_streamed: str | None
    checkpoint_round_snapshot: str | None
    checkpoint_round_seq: int | None
    checkpoint_filter_snapshot: str | None
    checkpoint_filter_end: str | None
    checkpoint_making_slot: bool | None
    checkpoint_wanted: Literal["auto", "wal", "polling"] | None
    """What an operator has asked for with `relay switch`."""
    checkpoint_at: datetime | None
    checkpoint_system: str | None
    checkpoint_database: str | None
    checkpoint_database_oid: int | None
    """None also in a row of a version that reported a position before it stored it."""
    checkpoint_plugin: str | None
    checkpoint_outboxes: Sequence[str] | None
    checkpoint_slot_exists: bool
    """Whether the slot of the stored position exists in this database."""
    other_relay: str | None
    """Another relay that has this slot."""
    other_outboxes: Sequence[str] | None
    checkpoint_partition: int | None
    checkpoint_partitions: int | None
    checkpoint_partitioned_by: Sequence[str] | None
    """None also for a relay that publishes all events."""

    @property
    def partition(self) -> Partition:
        """Of which events of the outbox the stored position is."""
        return Partition(self.checkpoint_partition or 1, self.checkpoint_partitions or 1)

    @property
    def state(self) -> State | None:
        """The stored state; None if the relay has stored none."""
        if self.checkpoint_mode is None or self.checkpoint_streamed is None:
            return None
        round_snapshot, round_seq = self.checkpoint_round_snapshot, self.checkpoint_round_seq
        filter_snapshot, filter_end = self.checkpoint_filter_snapshot, self.checkpoint_filter_end
        return State(
            mode=self.checkpoint_mode,
            lsn=None if self.checkpoint_lsn is None else Lsn.parse(self.checkpoint_lsn),
            snapshot=None if self.checkpoint_snapshot is None else Snapshot.parse(self.checkpoint_snapshot),
            streamed=Transactions.parse(self.checkpoint_streamed),
            round=Round(Snapshot.parse(round_snapshot), round_seq)
            if round_snapshot and round_seq is not None
            else None,
            filter=Filter(Snapshot.parse(filter_snapshot), Lsn.parse(filter_end))
            if filter_snapshot and filter_end
            else None,
            making_slot=bool(self.checkpoint_making_slot),
        )


@dataclass(frozen=True, slots=True)
class SlotState:
    """How the slot stands; sizes are bytes."""

    retained_bytes: int
    lag_bytes: int
    wal_status: str
    safe_wal_size: int | None
    keep_size_mib: int
    """max_slot_wal_keep_size; -1 without a limit."""
    parked: int


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A column of the outbox table."""

    name: str
    type: int
    base: int
    """The type below all domains; the same as `type` if it is none."""
    type_name: str
    generated: str = ""
    """`s` for a stored generated column, `v` for a virtual one."""
    default: str | None = None
    """The expression of its default."""


@dataclass(frozen=True, slots=True)
class PublicationFacts:
    """The publication that has the slot's name."""

    actions: Sequence[str]
    through_root: bool
    """Whether rows of partitions are published as rows of their table."""
    has_table: bool
    row_filter: str | None = None
    columns: Sequence[str] | None = None
    """The columns that are published; None before Postgres 15, which publishes all."""
    generated: bool = False
    """Whether stored generated columns are published."""


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What the server says of the outbox table; the fields of sql/queries/outbox_table.sql."""

    kind: str | None
    """As in pg_class: `r` table, `p` partitioned table, `v` view, `m` materialized view, `f` foreign table; or None."""
    columns: Sequence[ColumnFacts] = ()
    leaves: Sequence[tuple[str, str]] = ()
    """Schema and name of what holds the rows: the partitions, or the table itself."""
    others: Sequence[str] = ()
    """The other tables in the schema of a partitioned table."""
    unlogged: Sequence[str] = ()
    temporary: Sequence[str] = ()
    foreign_partitions: Sequence[str] = ()
    children: Sequence[str] = ()
    """Tables that inherit from a table without partitions."""
    unique: Sequence[str] = ()
    """The columns of unique indexes over all rows."""
    publication: PublicationFacts | None = None
    role: str = ""
    """The role that asked."""
    readable: bool = True
    """Whether that role may read the table."""
    hidden: bool = False
    """Whether row-level security keeps rows from it."""
    snapshot: str = "1:1:"

    @property
    def partitioned(self) -> bool:
        """Whether the table has partitions."""
        return self.kind == "p"


def table_facts(**row: object) -> TableFacts:
    """Return the facts in a row of sql/queries/outbox_table.sql."""
    return msgspec.convert(row, TableFacts)


class System(NamedTuple):
    """The server's answer to IDENTIFY_SYSTEM."""

    identifier: str
    timeline: int
    end: Lsn
    """How far its WAL is flushed."""
