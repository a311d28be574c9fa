"""One database, read through every output plugin and by polling: all must yield the same events for the same rows.

What a poll cannot know is left out of the comparison, and no more than that: the time of a commit, which is that of an
event without a time of its own; and the order of transactions that overlapped, where it keeps that of each aggregate.
What a stream does not say is compared with what it means: the place of an event in its transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

import psycopg
from msgspec import structs
from psycopg.rows import kwargs_row
from psycopg.sql import SQL, Identifier, Literal

from outboxkit import sql
from relay.core.errors import OutboxChanged, UndecodableChange
from relay.core.event import Boundary, Fence, OutboxEvent
from relay.core.position import Lsn, Snapshot
from relay.sources.layout import NATIVE, Layout
from relay.sources.wal.decoders.decoding import decoder
from relay.sources.wal.decoders.relations import Relations
from relay.storage.facts import TableFacts, table_facts
from sandbox.lifetime.isolation import Isolated
from tests.contract.polled import IN_ONE, IN_PARTS, polled

PLUGINS = ("wal2json", "pgoutput")
SESSION = "-c bytea_output=hex -c DateStyle=ISO -c TimeZone=UTC -c IntervalStyle=iso_8601 -c extra_float_digits=1"
"""The session that streams, as relay/sources/wal/replication.py pins it."""

Item = OutboxEvent | Boundary[Lsn] | Fence | str
"""What a decoder yields; a text is the error that ended the stream."""

ROW: dict[str, object] = {
    "aggregate_type": "t",
    "aggregate_id": "1",
    "aggregate_version": 1,
    "event_type": "e",
    "payload": "{}",
}
"""An event for our own table."""
OUTBOX_ROW: dict[str, object] = {
    "id": "7f2c5ae0-7c53-4b5e-8a0c-6a8f0b6b3c11",
    "aggregatetype": "order",
    "aggregateid": "42",
    "type": "placed",
    "payload": "{}",
}
"""An event for a table made for Debezium's router."""


class Recording:
    """Records all changes of a database from now on, once for each plugin, and what a poll from now on reads.

    The publication must exist before the slots. With `message_prefix` it contains no table. What the catalog says now
    is what a stream is opened with; `reopen` opens it anew, as a relay does that notices a change.
    """

    def __init__(self, isolated: Isolated, layout: Layout = NATIVE, message_prefix: str | None = None) -> None:
        self._url = isolated.database_url
        self._name = isolated.name
        self._layout = layout
        self._message_prefix = message_prefix
        publication = Identifier(isolated.name)
        with self.connect() as connection:
            if message_prefix is None:
                create = SQL(sql.query("publication_create"))
                connection.execute(
                    create.format(publication=publication, table=Identifier(layout.schema, layout.table))
                )
            else:
                connection.execute(SQL(sql.query("publication_create_empty")).format(publication=publication))
            for plugin in PLUGINS:
                connection.execute(sql.query("slot_create"), {"slot": f"{isolated.name}_{plugin}", "plugin": plugin})
        self.facts = self._ask()
        ((begun,),) = self.rows("SELECT pg_current_snapshot()::text")
        self._begun = Snapshot.parse(begun)
        self._former: frozenset[tuple[str, str]] = frozenset()

    def reopen(self) -> None:
        """Let the streams be opened with what the catalog says now, by a relay that remembers what it said before."""
        self._former |= {(schema, name) for schema, name in self.facts.leaves}
        self.facts = self._ask()

    def connect(self, *, autocommit: bool = True) -> psycopg.Connection[tuple[object, ...]]:
        """Open a session with the settings of a session that streams, so that values have the same form."""
        return psycopg.connect(self._url, autocommit=autocommit, options=SESSION)

    def execute(self, *statements: str) -> None:
        """Execute each statement in a transaction of its own."""
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def insert(self, row: Mapping[str, object], table: str = "outbox.event") -> None:
        """Insert `row` into `table`, in a transaction of its own."""
        into = SQL("INSERT INTO {} ({}) VALUES ({})").format(
            Identifier(*table.split(".")),
            SQL(", ").join(map(Identifier, row)),
            SQL(", ").join(map(Literal, row.values())),
        )
        with self.connect() as connection:
            connection.execute(into)

    def rows(self, query: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        """Return the rows of `query`; values have the form that they have in a stream."""
        with self.connect() as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def items(self) -> list[Item]:
        """Return what the decoders yield for everything since the start; fails if they differ.

        Boundaries without an item before them are left out, since decoders need not yield them.
        """
        items, *others = (list(_required(self._decode(plugin))) for plugin in PLUGINS)
        for other in others:
            for pair in zip_longest(items, other):
                assert pair[0] == pair[1], f"decoders differ: {pair}"
        return items

    def events(self, *, overlapping: bool = False) -> list[OutboxEvent]:
        """Return the events among the items; fails if one is an error, or if a poll yields others.

        Of transactions that were `overlapping`, a poll keeps the order of each aggregate.
        """
        said, meant = self.streamed(), list(_meant(self.items()))
        for batch in (IN_ONE, IN_PARTS):
            found = self.polled(batch=batch)
            assert len(found) == len(meant)
            if overlapping:
                meant.sort(key=_aggregate)
                found.sort(key=lambda event: event.aggregate_id)
            for (event, committed_at), other in zip(meant, found, strict=True):
                same_time = {}
                if event.created_at.timestamp() == committed_at:
                    assert event.created_at <= other.created_at <= datetime.now(UTC)
                    same_time = {"created_at": event.created_at}
                assert event == structs.replace(other, **same_time)
        return said

    def streamed(self) -> list[OutboxEvent]:
        """Return the events among the items; fails if one is an error."""
        items = self.items()
        assert not [item for item in items if isinstance(item, str)]
        return [item for item in items if isinstance(item, OutboxEvent)]

    def polled(self, *, batch: int = IN_ONE) -> list[OutboxEvent]:
        """Return what a poll yields for everything since the start; fails if it ends with an error."""
        items = polled(self._url, self._layout, self._ask(), after=self._begun, batch=batch)
        assert not [item for item in items if isinstance(item, str)]
        return [item for item in items if isinstance(item, OutboxEvent)]

    def poll_ends(self) -> str:
        """Return the error with which a poll ends."""
        (*_, problem) = polled(self._url, self._layout, self._ask(), after=self._begun, batch=IN_ONE)
        assert isinstance(problem, str)
        return problem

    def _decode(self, plugin: str) -> Sequence[Item]:
        try:
            return list(self._stream(plugin, self.facts))
        except OutboxChanged:
            return list(self._stream(plugin, self._ask()))

    def _ask(self) -> TableFacts:
        layout = self._layout
        asked = {"schema": layout.schema, "table": layout.table, "publication": self._name}
        with self.connect() as connection:
            cursor = connection.cursor(row_factory=kwargs_row(table_facts))
            found = cursor.execute(sql.query("outbox_table"), asked).fetchone()
        assert found is not None
        return found

    def _stream(self, plugin: str, facts: TableFacts) -> Iterable[Item]:
        made, options = decoder(
            plugin,
            self._layout,
            self._message_prefix,
            publication=self._name,
            relations=Relations.of(self._layout, facts, self._former),
        )
        chosen = [text for option in options.items() for text in option]
        peek = "SELECT data FROM pg_logical_slot_peek_binary_changes(%s, NULL, NULL, VARIADIC %s)"
        with self.connect() as connection:
            for (payload,) in connection.execute(peek, (f"{self._name}_{plugin}", chosen)).fetchall():
                assert isinstance(payload, bytes)
                before = made.in_transaction
                try:
                    (item,) = made.decode([payload])
                except UndecodableChange as problem:
                    yield str(problem)
                    return
                assert before or not isinstance(item, OutboxEvent | Fence | Boundary)
                assert not (made.in_transaction and isinstance(item, Boundary))
                if item is not None:
                    yield item


def _required(items: Iterable[Item]) -> Iterable[Item]:
    preceded = False
    for item in items:
        if preceded or not isinstance(item, Boundary):
            yield item
        preceded = not isinstance(item, Boundary)


def _meant(items: Iterable[Item]) -> Iterable[tuple[OutboxEvent, float | None]]:
    """Yield each event with its place in its transaction, and when that committed."""
    events: list[OutboxEvent] = []
    for item in items:
        if isinstance(item, OutboxEvent):
            events.append(structs.replace(item, place=len(events) + 1))
        elif isinstance(item, Boundary):
            yield from ((event, item.committed_at) for event in events)
            events.clear()


def _aggregate(event: tuple[OutboxEvent, float | None]) -> str:
    return event[0].aggregate_id
