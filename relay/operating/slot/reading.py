"""Reads the events of the transactions to skip, in the order and the form in which the relay would read them.

They come from a temporary copy of the slot, through the slot's plugin and the relay's decoder, so that each has the
place in its transaction that the relay would give it. A row that Postgres cannot decode ends the reading.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from outboxkit import sql
from relay.core.errors import UndecodableChange
from relay.core.event import OutboxEvent
from relay.core.position import Lsn
from relay.operating import outbox
from relay.operating.slot import statements
from relay.operating.slot.statements import READER, SkippedEvent, Slot, Transaction
from relay.settings import RelaySettings
from relay.sources.wal.decoders import pgoutput
from relay.sources.wal.decoders.decoding import Decoder, decoder
from relay.sources.wal.decoders.relations import Relations
from relay.sources.wal.unpublished import left_out

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
    """Yield the events of `transactions`, which commit after `after`, of the relay's partition.

    Raises psycopg's errors.
    """
    if not transactions:
        return
    mine = settings.owner.partition.has
    made, options = _decoder(connection, settings, slot)
    places = dict.fromkeys([each.xid for each in transactions], 0)
    upto = Lsn.parse(transactions[-1].end_lsn)
    for xid, change in _changes(connection, slot, options, after=after, upto=upto):
        event: object = None
        problem = None
        try:
            (event,) = made.decode([change])
        except UndecodableChange as undecodable:
            problem = undecodable.what
        if xid in places and (problem is not None or isinstance(event, OutboxEvent)):
            places[xid] += 1
            if not isinstance(event, OutboxEvent):
                yield Read(xid, places[xid], None, problem)
            elif mine(event):
                yield Read(xid, places[xid], event, None)


def transactions(
    connection: psycopg.Connection[Any], settings: RelaySettings, slot: Slot, *, after: Lsn, before: Lsn | None
) -> list[Transaction]:
    """Return the transactions that a slot of pgoutput would send, in commit order; raises psycopg's errors."""
    _, options = _decoder(connection, settings, slot)
    found = []
    for xid, change in _changes(connection, slot, options, after=after, upto=before):
        if (commit := pgoutput.committed(change)) is not None and (before is None or commit.lsn < before):
            at = datetime.fromtimestamp(commit.at, UTC)
            found.append(Transaction(xid, str(commit.lsn), str(commit.end), at))
    return found


def _decoder(
    connection: psycopg.Connection[Any], settings: RelaySettings, slot: Slot
) -> tuple[Decoder, Mapping[str, str]]:
    """Return what the relay reads the slot with, and its options."""
    found = outbox.facts(connection, settings)
    table = settings.layout(partitioned=found.partitioned)
    return decoder(
        slot.plugin or READER,
        table,
        settings.message_prefix,
        publication=settings.slot,
        relations=Relations.of(table, found),
    )


def _changes(
    connection: psycopg.Connection[Any], slot: Slot, options: Mapping[str, str], *, after: Lsn, upto: Lsn | None
) -> Iterator[tuple[int, bytes]]:
    """Yield what the slot would send, each with the low bits of its transaction's id.

    Raises UndefinedObject before the first one if changes are left out, also where the server only warns.
    """
    asked = {"upto": upto and str(upto), "options": [part for option in options.items() for part in option]}
    with (
        statements.copied(connection, slot, plugin=slot.plugin or READER, after=after) as copy,
        connection.transaction(),
        connection.cursor(name=copy, binary=True) as cursor,
    ):
        cursor.itersize = _AT_ONCE
        cursor.execute(sql.query("slot_read"), asked | {"slot": copy})
        with _complete(connection) as check:
            for row in cursor:  # the function has run to its end before it returns the first one
                check()
                yield row
            check()


@contextmanager
def _complete(connection: psycopg.Connection[Any]) -> Iterator[Callable[[], None]]:
    """Yield what raises the error of a change that was left out in the block."""
    errors: list[psycopg.Error] = []

    def noticed(notice: psycopg.errors.Diagnostic) -> None:
        if (error := left_out(notice)) is not None:
            errors.append(error)

    def check() -> None:
        if errors:
            raise errors[0]

    connection.add_notice_handler(noticed)
    try:
        yield check
    finally:
        connection.remove_notice_handler(noticed)
