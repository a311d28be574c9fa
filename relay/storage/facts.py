"""The server's answers, as values. Pure: the modules that ask and the modules that judge share them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from relay.core.position import Lsn


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server says before the relay streams; the fields of sql/queries/source_facts.sql."""

    server_encoding: str
    wal_sender_timeout_ms: int
    database: str
    role: str
    may_replicate: bool
    partitioned: bool
    """Whether the outbox table has partitions."""
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
    checkpoint_lsn: str | None
    checkpoint_system: str | None
    checkpoint_timeline: int | None


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
