"""Which events a skip would pass over, and how they are parked: from the stream, or from what is left in tables.

The stream has every event of every kind of outbox, also when its row is gone. If Postgres cannot decode it, the rows of
our own table show what is still there, since they store their transaction; other outboxes do not.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from relay.core.position import Lsn
from relay.operating.slot import statements
from relay.operating.slot.reading import Read, read
from relay.operating.slot.statements import OUTBOX, SkippedEvent, Slot, Transaction
from relay.settings import RelaySettings
from relay.storage import parking

_AT_ONCE = 500
_AT_ONCE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Contents:
    """The events of some transactions, and where they were read."""

    events: list[SkippedEvent]
    source: Literal["stream", "table", "nowhere"]
    """stream: all events; table: those whose rows are still there; nowhere: none."""

    @property
    def parkable(self) -> list[SkippedEvent]:
        """Those that can be read, and so parked."""
        return [event for event in self.events if event.id is not None]


def contents(
    connection: psycopg.Connection[Any],
    settings: RelaySettings,
    slot: Slot,
    transactions: Sequence[Transaction],
    *,
    after: Lsn,
) -> Contents:
    """Return the events of `transactions`, which commit after `after`; raises a Problem if they must not be guessed."""
    try:
        found = [each.skipped() for each in read(connection, settings, slot, transactions, after=after)]
        return Contents(found, "stream")
    except psycopg.Error:
        if connection.closed:
            raise
    if not _ours(settings):
        return Contents([], "nowhere")
    statements.require_readable(connection, transactions)
    return Contents(statements.events(connection, settings, transactions), "table")


def park(  # noqa: PLR0913 - what is skipped, and how it was found
    connection: psycopg.Connection[Any],
    settings: RelaySettings,
    slot: Slot,
    transactions: Sequence[Transaction],
    found: Contents,
    *,
    after: Lsn,
    detail: str,
) -> None:
    """Park what `contents` has found."""
    if found.source == "nowhere":
        return
    if found.source == "table":
        statements.park_rows(connection, settings, transactions, after=after, detail=detail)
        return
    for some in _batches(read(connection, settings, slot, transactions, after=after)):
        rows = [parking.row(each.event, each.place, "skipped", detail) for each in some if each.event is not None]
        statements.park(connection, settings, rows, after)


def _ours(settings: RelaySettings) -> bool:
    """Return whether the outbox is our own table, whose rows store their transaction."""
    return settings.message_prefix is None and settings.outbox_table == OUTBOX


def _batches(items: Iterable[Read]) -> Iterator[list[Read]]:
    """Yield the events among `items`, a limited number of them and of their bytes at a time."""
    batch: list[Read] = []
    size = 0
    for item in items:
        if item.event is None:
            continue
        batch.append(item)
        size += len(item.event.payload)
        if len(batch) >= _AT_ONCE or size >= _AT_ONCE_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
