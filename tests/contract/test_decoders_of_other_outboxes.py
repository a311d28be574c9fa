"""What every decoder and a poll yield for other outboxes: tables of any shape and name; and decoders for messages."""

from datetime import UTC, datetime

import psycopg
import pytest
from msgspec import structs

from outboxkit.amqp.format import BINARY, JSON, TEXT
from relay.core.event import Boundary, Defective, Fence, OutboxEvent
from relay.sources.layout import layout
from sandbox.lifetime.isolation import Isolated
from tests.contract.recording import OUTBOX_ROW, ROW, Recording

MESSAGE = '{"id": "%s", "aggregate_type": "order", "aggregate_id": "42", "event_type": "placed", "payload": %s}'


def test_messages_with_the_prefix_are_the_outbox_where_there_is_no_table(isolated: Isolated) -> None:
    recording = Recording(isolated, message_prefix="orders")
    with recording.connect(autocommit=False) as connection:
        for identity, payload in (("a", '{"total": 1.10}'), ("b", r'"\u00e9 \" \n é"'), ("c", "null")):
            connection.execute("SELECT pg_logical_emit_message(true, 'orders', %s)", (MESSAGE % (identity, payload),))
        connection.execute("SELECT outbox.publish('order', 'the table is not the outbox now', 1, 'placed', '{}')")
        connection.execute("SELECT pg_logical_emit_message(false, 'orders', %s)", (MESSAGE % ("ghost", "1"),))
        connection.execute("SELECT pg_logical_emit_message(true, 'orders.other', 'x')")
        connection.execute("SELECT pg_logical_emit_message(true, 'relay.fence', '1')")
        connection.commit()
        connection.execute("SELECT pg_logical_emit_message(true, 'orders', %s)", (MESSAGE % ("rolled back", "1"),))
        connection.rollback()
    items = recording.items()

    assert [(event.id, event.payload.decode()) for event in recording.streamed()] == [
        ("a", '{"total": 1.10}'),
        ("b", r'"\u00e9 \" \n é"'),
        ("c", "null"),
    ]
    *_, fence, boundary = items
    assert (fence, len(items)) == (Fence("1"), 5)
    assert isinstance(boundary, Boundary)
    assert {event.created_at.timestamp() for event in recording.streamed()} == {boundary.committed_at}


@pytest.mark.parametrize("content", ['\'{"id": "1"}\'', "'\\xff'::bytea"])
def test_a_message_that_is_no_event_ends_the_stream_with_the_reason(isolated: Isolated, content: str) -> None:
    recording = Recording(isolated, message_prefix="orders")
    recording.execute(f"SELECT pg_logical_emit_message(true, 'orders', {content})")
    (problem,) = recording.items()

    assert "the content of a message 'orders' cannot be read" in str(problem)


TX = "tx xid8 DEFAULT pg_current_xact_id()"


def debezium(isolated: Isolated, columns: str, **chosen: str) -> Recording:
    """Make a table and record it as one for Debezium's outbox event router, with the column that a poll reads."""
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE outbox ({columns}, {TX})".encode())
    return Recording(isolated, layout("debezium", "public.outbox", chosen, partitioned=False))


_TABLE = (
    "id uuid NOT NULL, aggregatetype varchar(255) NOT NULL, aggregateid varchar(255) NOT NULL,"
    " type varchar(255) NOT NULL, payload "
)


@pytest.mark.parametrize(
    ("kind", "value", "body", "content_type"),
    [
        ("jsonb", '{"b": 1.10, "a": "é\\n"}', '{"a": "é\\n", "b": 1.10}'.encode(), JSON),
        ("json", '{"b":  1.10}', b'{"b":  1.10}', JSON),
        ("text", "00ff", b"00ff", TEXT),
        ("varchar(8000)", r'no "JSON" \\', rb'no "JSON" \\', TEXT),
        ("bytea", r"\x00ff41", b"\x00\xffA", BINARY),
        ("bytea", "", b"", BINARY),
        ("jsonb", None, b"null", JSON),
    ],
)
def test_a_table_made_for_debezium_is_relayed_unchanged(
    isolated: Isolated, kind: str, value: str | None, body: bytes, content_type: str
) -> None:
    recording = debezium(isolated, _TABLE + kind)
    for _ in range(2):
        recording.insert(OUTBOX_ROW | {"payload": value}, "public.outbox")
    first, end, second, _ = recording.items()

    assert isinstance(first, OutboxEvent)
    assert isinstance(second, OutboxEvent)
    assert isinstance(end, Boundary)
    assert first == OutboxEvent(
        id=str(OUTBOX_ROW["id"]),
        seq=0,
        aggregate_type="order",
        aggregate_id="42",
        aggregate_version=0,
        event_type="placed",
        payload=body,
        headers={},
        exchange=None,
        routing_key=None,
        created_at=datetime.fromtimestamp(end.committed_at or 0, UTC),
        content_type=content_type,
        transaction=first.transaction,
    )
    assert second == structs.replace(first, created_at=second.created_at, transaction=second.transaction)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("timestamptz", "2026-11-20 21:00:00.123+01"),
        ("timestamp", "2026-11-20 20:00:00.123"),
        ("bigint", "1795204800123"),
    ],
)
def test_a_timestamp_column_of_any_kind_is_the_events_time(isolated: Isolated, kind: str, value: str) -> None:
    recording = debezium(isolated, f"{_TABLE} jsonb, timestamp {kind}")
    recording.insert(OUTBOX_ROW | {"timestamp": value}, "public.outbox")
    recording.insert(OUTBOX_ROW | {"timestamp": None}, "public.outbox")
    first, _, second, end = recording.items()

    assert isinstance(first, OutboxEvent)
    assert isinstance(second, OutboxEvent)
    assert isinstance(end, Boundary)
    assert first.created_at == datetime(2026, 11, 20, 20, 0, 0, 123000, tzinfo=UTC)
    assert second.created_at.timestamp() == end.committed_at


def test_numbers_and_enumerations_are_read_as_their_text_and_null_as_absent(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("CREATE TYPE kind AS ENUM ('placed', 'paid')")
    recording = debezium(
        isolated,
        "id bigint, aggregatetype text, aggregateid int, type kind, payload jsonb, version int, meta json, ok bool",
        aggregate_version="version",
        headers="meta",
    )
    recording.execute(
        "INSERT INTO outbox VALUES (1, 'order', 42, 'placed', '{}', 7, '{\"a\":  1}', true)",
        "INSERT INTO outbox VALUES (2, 'order', NULL, 'paid', '{}', NULL, NULL, NULL)",
        "INSERT INTO outbox VALUES (3, 'order', -5, 'paid', '{}', -7, '{}', false)",
    )

    assert [(e.id, e.aggregate_id, e.event_type, e.aggregate_version, e.headers) for e in recording.events()] == [
        ("1", "42", "placed", 7, {"a": 1}),
        ("2", "", "paid", 0, {}),
        ("3", "-5", "paid", -7, {}),
    ]


def test_null_for_an_id_ends_the_stream_with_the_columns_name(isolated: Isolated) -> None:
    recording = debezium(isolated, (_TABLE + "jsonb").replace(" NOT NULL", ""))
    recording.insert(OUTBOX_ROW | {"id": None}, "public.outbox")
    (problem,) = recording.items()

    assert "'id' of a row of public.outbox is empty" in str(problem)
    assert "'id' of a row of public.outbox is empty" in recording.poll_ends()


@pytest.mark.parametrize("column", ["aggregatetype", "type"])
def test_an_event_without_a_type_is_one_to_park_and_the_stream_goes_on(isolated: Isolated, column: str) -> None:
    recording = debezium(isolated, (_TABLE + "jsonb").replace(" NOT NULL", ""))
    recording.insert(OUTBOX_ROW | {column: None}, "public.outbox")
    recording.insert(OUTBOX_ROW, "public.outbox")
    bad, good = recording.events()

    assert isinstance(bad.headers, Defective)
    assert bad.headers.why == f"'{column}' of a row of public.outbox is empty"
    assert (bad.id, good.headers) == (good.id, {})


DEEP = '{"a":' * 1000 + "1" + "}" * 1000


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        ("json", "[1]"), ("jsonb", "1"), ("jsonb", '"text"'), ("text", "a=b"), ("text", ""), ("json", DEEP),
        ("jsonb", DEEP), ("json", '{"a": 1e400}'), ("jsonb", '{"a": 0.1234567890123456789}'), ("int", "7"),
    ],
)  # fmt: skip
def test_headers_that_no_message_can_carry_are_parked_with_their_text_and_the_stream_goes_on(
    isolated: Isolated, kind: str, headers: str
) -> None:
    recording = debezium(isolated, f"{_TABLE} jsonb, meta {kind}", headers="meta")
    recording.insert(OUTBOX_ROW | {"meta": headers}, "public.outbox")
    recording.insert(OUTBOX_ROW | {"meta": None}, "public.outbox")
    ((text,), _) = recording.rows("SELECT meta::text FROM outbox")
    bad, good = recording.events()

    assert isinstance(bad.headers, Defective)
    assert (bad.headers.text, good.headers) == (text, {})


@pytest.mark.parametrize("kind", ["json", "jsonb", "text"])
@pytest.mark.parametrize("headers", ["null", "{}", None])
def test_no_headers_may_be_null_json_null_or_empty(isolated: Isolated, kind: str, headers: str | None) -> None:
    recording = debezium(isolated, f"{_TABLE} jsonb, meta {kind}", headers="meta")
    recording.insert(OUTBOX_ROW | {"meta": headers}, "public.outbox")
    (found,) = recording.events()

    assert (found.headers, bool(found.headers)) == ({}, False)


@pytest.mark.parametrize("name", ["o'Ut, b*ox\\", "*", "ÄÖ%s{}"])
def test_a_table_of_any_name_is_distinguished_from_its_neighbours(isolated: Isolated, name: str) -> None:
    schema = f"s {name}"
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{schema}"'.encode())
        for table in (name, f"{name}_archive", "other"):
            connection.execute(f'CREATE TABLE "{schema}"."{table}" (LIKE outbox.event INCLUDING DEFAULTS)'.encode())
    recording = Recording(isolated, layout("native", f"{schema}.{name}", {}, partitioned=False))
    for table, where in ((name, "here"), (f"{name}_archive", "there"), ("other", "there")):
        recording.insert(ROW | {"aggregate_id": where, "seq": 1}, f"{schema}.{table}")

    assert [event.aggregate_id for event in recording.events()] == ["here"]


def partitioned(isolated: Isolated, *partitions: str) -> Recording:
    """Make a table with a partition for each of the types that `partitions` are called by, and record it."""
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE TABLE outbox (id text, aggregatetype text, aggregateid text, type text, payload bytea, {TX})"
            " PARTITION BY LIST (type)".encode()
        )
        for name in partitions:
            of = f"CREATE TABLE {name} PARTITION OF outbox FOR VALUES IN ('{name}')"
            connection.execute(of.encode())
    return Recording(isolated, layout("debezium", "public.outbox", {}, partitioned=True))


def told(events: list[OutboxEvent]) -> list[tuple[str, str, bytes]]:
    return [(event.id, event.event_type, event.payload) for event in events]


def test_a_partition_that_comes_while_streaming_belongs_to_the_table_and_its_neighbours_do_not(
    isolated: Isolated,
) -> None:
    recording = partitioned(isolated, "outbox_placed")
    recording.insert(OUTBOX_ROW | {"id": "1", "type": "outbox_placed"}, "public.outbox")
    recording.execute(
        f"CREATE TABLE paid (payload bytea, type text, id text, {TX}, more text, aggregatetype text, aggregateid text)",
        "ALTER TABLE paid DROP COLUMN more",
        "ALTER TABLE outbox ATTACH PARTITION paid FOR VALUES IN ('paid')",
        "CREATE TABLE outbox_2 PARTITION OF outbox FOR VALUES IN ('2')",
        "CREATE TABLE outbox_backup AS SELECT * FROM outbox",
        "CREATE TABLE other (LIKE outbox)",
    )
    recording.insert(OUTBOX_ROW | {"id": "2", "type": "paid"}, "public.outbox")
    recording.insert(OUTBOX_ROW | {"id": "3", "type": "2"}, "public.outbox")
    recording.insert(OUTBOX_ROW | {"id": "4", "type": "outbox_placed"}, "public.outbox")
    recording.insert(OUTBOX_ROW, "public.outbox_backup")
    recording.insert(OUTBOX_ROW, "public.other")

    assert told(recording.events()) == [
        ("1", "outbox_placed", b"{}"), ("2", "paid", b"{}"), ("3", "2", b"{}"), ("4", "outbox_placed", b"{}"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        ("ALTER TABLE outbox DETACH PARTITION old",),
        ("DROP TABLE old",),
        ("ALTER TABLE old RENAME TO outbox_older",),
        ("ALTER TABLE outbox DETACH PARTITION old", "DROP TABLE old"),
    ],
)
def test_what_was_written_into_a_partition_is_delivered_although_it_went_meanwhile(
    isolated: Isolated, change: tuple[str, ...]
) -> None:
    recording = partitioned(isolated, "old", "kept")
    recording.insert(OUTBOX_ROW | {"id": "1", "type": "old"}, "public.outbox")
    recording.execute(*change)
    recording.insert(OUTBOX_ROW | {"id": "2", "type": "kept"}, "public.outbox")
    before = told(recording.streamed())
    recording.reopen()

    assert before == told(recording.streamed()) == [("1", "old", b"{}"), ("2", "kept", b"{}")]


def test_a_table_that_is_a_partition_no_more_is_not_the_outbox(isolated: Isolated) -> None:
    recording = partitioned(isolated, "old", "kept")
    recording.execute("ALTER TABLE outbox DETACH PARTITION old")
    recording.reopen()
    recording.insert(OUTBOX_ROW | {"type": "old"}, "public.old")

    assert recording.streamed() == recording.polled() == []
