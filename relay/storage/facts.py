"""The server's answers, as values. Pure: the modules that ask and the modules that judge share them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from relay.core.position import Lsn


@dataclass(frozen=True, slots=True)
class Owner:
    """Which relay a slot and a position belong to."""

    relay: str
    slot: str
    outboxes: list[str]
    """Tables as `schema.table`, message prefixes as `message:prefix`."""

    @property
    def table(self) -> str | None:
        """The outbox table; None if the outbox is messages."""
        return next((each for each in self.outboxes if not each.startswith("message:")), None)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server says before the relay streams; the fields of sql/queries/source_facts.sql."""

    server_encoding: str
    wal_sender_timeout_ms: int
    server_started_at: datetime
    wal_end: str
    """How far the server's WAL is flushed; on a standby, replayed."""
    system_identifier: str
    database: str
    database_oid: int
    role: str
    may_replicate: bool
    partitioned: bool
    """Whether the outbox table has partitions."""
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
    checkpoint_slot: str | None
    """None, like all of the stored position, if the relay has stored none."""
    checkpoint_lsn: str | None
    checkpoint_epoch: int | None
    checkpoint_at: datetime | None
    checkpoint_system: str | None
    checkpoint_timeline: int | None
    checkpoint_database: str | None
    checkpoint_database_oid: int | None
    """None also in a row of a version that reported a position before it stored it."""
    checkpoint_plugin: str | None
    checkpoint_outboxes: Sequence[str] | None
    checkpoint_slot_exists: bool
    """Whether the slot of the stored position exists, in any database."""
    other_relay: str | None
    """Another relay that has this slot."""
    other_outboxes: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class SlotState:
    """How the slot stands; sizes are bytes."""

    retained_bytes: int
    lag_bytes: int
    wal_status: str
    safe_wal_size: int | None
    parked: int


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What the server says of the outbox table; the fields of sql/queries/outbox_table.sql."""

    partitioned: bool
    columns: Sequence[str]
    other_names: Sequence[str]
    """Partitions that are not called like the table."""
    other_tables: Sequence[str]
    """Tables that are called like its partitions, and are none."""


class System(NamedTuple):
    """The server's answer to IDENTIFY_SYSTEM."""

    identifier: str
    timeline: int
    end: Lsn
    """How far its WAL is flushed."""
