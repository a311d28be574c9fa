"""Reads the events of the transactions to skip, in the order and the form in which the relay would read them.

They come from a temporary copy of the slot, through the slot's plugin and the relay's decoder, so that each has the
place in its transaction that the relay would give it. A row that Postgres cannot decode ends the reading.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from outboxkit import sql
from relay.core.errors import UndecodableChange
from relay.core.event import OutboxEvent
from relay.core.position import Lsn
from relay.operating.slot import statements
from relay.operating.slot.statements import READER, SkippedEvent, Slot, Transaction
from relay.settings import RelaySettings
from relay.sources.layout import layout
from relay.sources.wal.decoders.decoding import decoder
from relay.storage.facts import TableFacts

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Read:
    """What one change of the stream is: an event, or one that cannot be read."""

    xid: int
    place: int
    """Which event of its transaction it is, from 1."""
    event: OutboxEvent | None
    problem: str | None

    def skipped(self) -> SkippedEvent:
        """Return it as it is listed."""
        if self.event is None:
            return SkippedEvent(self.xid, None, None, None, None, None, None, self.problem)
        event = self.event
        return SkippedEvent(
            self.xid,
            event.id,
            event.aggregate_type,
            event.aggregate_id,
            event.aggregate_version,
            event.event_type,
            event.created_at,
        )


def read(
    connection: psycopg.Connection[Any],
    settings: RelaySettings,
    slot: Slot,
    transactions: Sequence[Transaction],
    *,
    after: Lsn,
) -> Iterator[Read]:
    """Yield the events of `transactions`, which commit after `after`; raises psycopg's errors."""
    if not transactions:
        return
    plugin = slot.plugin or READER
    partitioned = _partitioned(connection, settings)
    table = layout(settings.outbox_layout, settings.outbox_table, settings.outbox_columns, partitioned=partitioned)
    made, options = decoder(plugin, table, settings.message_prefix, publication=settings.slot, relay=settings.name)
    asked = {"upto": transactions[-1].end_lsn, "options": [part for option in options.items() for part in option]}
    wanted, places = {each.xid for each in transactions}, dict.fromkeys([each.xid for each in transactions], 0)
    connection.execute(sql.query("slot_reading_session"))
    with (
        statements.copied(connection, slot, plugin=plugin, after=after) as copy,
        connection.transaction(),
        connection.cursor(name=copy, binary=True) as cursor,
    ):
        cursor.itersize = _AT_ONCE
        cursor.execute(sql.query("slot_read"), asked | {"slot": copy})
        for xid, change in cursor:
            event: object = None
            problem = None
            try:
                (event,) = made.decode([change])
            except UndecodableChange as undecodable:
                problem = undecodable.what
            if xid in wanted and (problem is not None or isinstance(event, OutboxEvent)):
                places[xid] += 1
                yield Read(xid, places[xid], event if isinstance(event, OutboxEvent) else None, problem)


def _partitioned(connection: psycopg.Connection[Any], settings: RelaySettings) -> bool:
    schema, _, table = settings.outbox_table.partition(".")
    cursor = connection.cursor(row_factory=class_row(TableFacts))
    facts = cursor.execute(sql.query("outbox_table"), {"schema": schema, "table": table}).fetchone()
    return facts is not None and facts.partitioned
