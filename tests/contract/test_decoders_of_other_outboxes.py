"""What every decoder yields for other outboxes: tables of any shape and name, and logical messages."""

from datetime import UTC, datetime

import psycopg
import pytest
from msgspec import structs

from outboxkit.amqp.format import BINARY, JSON, TEXT
from relay.core.event import Boundary, Fence, OutboxEvent
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

    assert [(event.id, event.payload.decode()) for event in recording.events()] == [
        ("a", '{"total": 1.10}'),
        ("b", r'"\u00e9 \" \n é"'),
        ("c", "null"),
    ]
    *_, fence, boundary = items
    assert (fence, len(items)) == (Fence("1"), 5)
    assert isinstance(boundary, Boundary)
    assert {event.created_at.timestamp() for event in recording.events()} == {boundary.committed_at}


@pytest.mark.parametrize("content", ['\'{"id": "1"}\'', "'\\xff'::bytea"])
def test_a_message_that_is_no_event_ends_the_stream_with_the_reason(isolated: Isolated, content: str) -> None:
    recording = Recording(isolated, message_prefix="orders")
    recording.execute(f"SELECT pg_logical_emit_message(true, 'orders', {content})")
    (problem,) = recording.items()

    assert "the content of a message 'orders' cannot be read" in str(problem)


def debezium(isolated: Isolated, columns: str, **chosen: str) -> Recording:
    """Make a table and record it as one for Debezium's outbox event router."""
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE outbox ({columns})".encode())
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


@pytest.mark.parametrize("column", ["id", "type"])
def test_null_where_an_event_needs_a_value_ends_the_stream_with_the_columns_name(
    isolated: Isolated, column: str
) -> None:
    recording = debezium(isolated, (_TABLE + "jsonb").replace(" NOT NULL", ""))
    recording.insert(OUTBOX_ROW | {column: None}, "public.outbox")
    (problem,) = recording.items()

    assert f"'{column}' of a row of public.outbox is empty" in str(problem)


@pytest.mark.parametrize("name", ["o'Ut, b*ox\\", "*", "ÄÖ%s{}"])
def test_a_table_of_any_name_is_distinguished_from_its_neighbours(isolated: Isolated, name: str) -> None:
    schema = f"s {name}"
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{schema}"'.encode())
        for table in (name, f"{name}_archive", "other"):
            connection.execute(f'CREATE TABLE "{schema}"."{table}" (LIKE outbox.event)'.encode())
    recording = Recording(isolated, layout("native", f"{schema}.{name}", {}, partitioned=False))
    for table, where in ((name, "here"), (f"{name}_archive", "there"), ("other", "there")):
        more = {"id": OUTBOX_ROW["id"], "tx": "1", "headers": "{}", "created_at": "now"}
        recording.insert(ROW | {"aggregate_id": where, "seq": 1} | more, f"{schema}.{table}")

    assert [event.aggregate_id for event in recording.events()] == ["here"]


def test_a_partitioned_table_is_distinguished_from_its_neighbours_and_new_partitions_belong_to_it(
    isolated: Isolated,
) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE outbox (id text, aggregatetype text, aggregateid text, type text, payload bytea)"
            " PARTITION BY LIST (type)"
        )
        connection.execute("CREATE TABLE outbox_placed PARTITION OF outbox FOR VALUES IN ('placed')")
        connection.execute("CREATE TABLE other (LIKE outbox)")
    recording = Recording(isolated, layout("debezium", "public.outbox", {}, partitioned=True))
    recording.insert(OUTBOX_ROW | {"id": "1"}, "public.outbox")
    recording.execute(
        "CREATE TABLE outbox_paid (payload bytea, type text, id text, more text, aggregatetype text, aggregateid text)",
        "ALTER TABLE outbox_paid DROP COLUMN more",
        "ALTER TABLE outbox ATTACH PARTITION outbox_paid FOR VALUES IN ('paid')",
    )
    recording.insert(OUTBOX_ROW | {"id": "2", "type": "paid"}, "public.outbox")
    recording.insert(OUTBOX_ROW | {"id": "3"}, "public.outbox")
    recording.insert(OUTBOX_ROW, "public.other")

    assert [(event.id, event.event_type, event.payload) for event in recording.events()] == [
        ("1", "placed", b"{}"),
        ("2", "paid", b"{}"),
        ("3", "placed", b"{}"),
    ]
