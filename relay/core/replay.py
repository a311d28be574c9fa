"""A replay: events of the past, published again beside the live stream. Pure.

Its range is fixed when the job is made, in terms of the source that it reads, so that a job that is resumed reads the
same events: two snapshots for the table, two LSNs for the WAL.
"""

import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

from relay.core.event import Boundary, OutboxEvent
from relay.core.position import Lsn, Position, Snapshot

State = Literal["running", "interrupted", "failed", "finished"]


@dataclass(frozen=True, slots=True)
class ReplayPosition(Position):
    """How far a replay is: up to the row `seq` of the table, or up to the commit at `lsn` in the WAL."""

    seq: int | None = None
    lsn: Lsn | None = None
    complete: bool = False
    """Whether this is the end of the range."""

    def __str__(self) -> str:
        at = f"seq {self.seq}" if self.lsn is None else str(self.lsn)
        return f"the end, {at}" if self.complete else at


@dataclass(frozen=True, slots=True)
class TableRange:
    """The rows of the table that `after` does not see and `until` does."""

    after: Snapshot
    until: Snapshot


@dataclass(frozen=True, slots=True)
class WalRange:
    """The transactions that a copy of `slot` sends and whose commits end behind `after`, up to `until`."""

    slot: str
    after: Lsn
    until: Lsn
    first_event: str | None = None
    """It begins with the event with this id."""
    last_event: str | None = None
    """It ends with the event with this id."""


Range = TableRange | WalRange


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events of a range are published: those that meet everything that is not None."""

    aggregate_type: str | None = None
    aggregate_id: str | None = None
    event_type: str | None = None
    """A pattern with * and ?."""
    seqs: str | None = None
    """Numbers of events, in Postgres' form of an int8multirange; for the table only."""

    def takes(self, event: OutboxEvent) -> bool:
        """Return whether `event` is among them; `seqs` is left to Postgres."""
        return (
            self.aggregate_type in {None, event.aggregate_type}
            and self.aggregate_id in {None, event.aggregate_id}
            and (self.event_type is None or _pattern(self.event_type).fullmatch(event.event_type) is not None)
        )


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a replay publishes, if not where the live stream does; at most one of them is set."""

    exchange: str | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """All that a replay is asked to do: it is stored with the job, and used again by whoever resumes it."""

    range: Range
    selection: Selection = Selection()
    destination: Destination = Destination()
    rate: float | None = None
    """Events a second, at most."""
    events: int | None = None
    """How many events it will publish; None if that is not known."""


@dataclass(frozen=True, slots=True)
class Job:
    """An order with its number, and how far it was."""

    number: int
    order: Order
    system_identifier: str
    timeline: int
    state: State
    done: ReplayPosition
    confirmed: int = 0
    parked: int = 0


class Reading(Protocol):
    """An open range, read in order from one position on."""

    async def receive(self) -> Sequence[OutboxEvent | Boundary[ReplayPosition]]:
        """Return what comes next, at least one item; the last one of all is a boundary that is `complete`.

        Only events of the job's selection are returned; boundaries may follow each other without events.
        """

    async def stored(self, position: ReplayPosition) -> None:
        """Note that `position` is stored: what is before it is not read again."""

    async def run(self) -> None:
        """Do what reading needs beside it, until cancelled; raises what ends it."""


class RangeReader(Protocol):
    """Opens the range of a job."""

    def open(self, after: ReplayPosition) -> AbstractAsyncContextManager[Reading]:
        """Read what lies behind `after`; raises SourceUnavailable, or a Problem when trying again cannot help."""


@lru_cache(maxsize=16)
def _pattern(text: str) -> re.Pattern[str]:
    special = {"*": ".*", "?": "."}
    return re.compile("".join(special.get(each, re.escape(each)) for each in text), re.DOTALL)
