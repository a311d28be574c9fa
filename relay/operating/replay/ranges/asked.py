"""What a user asks of `relay replay`: the two ends of a range, before they are looked up. Pure."""

from dataclasses import dataclass
from datetime import datetime

from relay.core.position import Lsn


@dataclass(frozen=True, slots=True)
class AtLsn:
    """A position in the WAL."""

    lsn: Lsn


@dataclass(frozen=True, slots=True)
class AtTime:
    """A time."""

    at: datetime


@dataclass(frozen=True, slots=True)
class AtEvent:
    """The transaction of an event."""

    id: str


@dataclass(frozen=True, slots=True)
class AtSlot:
    """Where a replication slot stands."""

    name: str


Begin = AtLsn | AtTime | AtEvent | AtSlot
End = AtLsn | AtTime | AtEvent | None
"""None is now."""
