"""Both plugins through START_REPLICATION: options as they are quoted there, publications, and facts of the table."""

import asyncio
from collections.abc import Sequence

import psycopg
import pytest
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from outboxkit import sql
from relay.core.event import Boundary, Fence, OutboxEvent
from relay.core.position import Lsn
from relay.sources.layout import NATIVE, Layout, layout
from relay.sources.wal import frames
from relay.sources.wal.decoders.decoding import decoder
from relay.sources.wal.replication import ReplicationConnection
from relay.storage.facts import TableFacts
from sandbox.lifetime.isolation import Isolated

PLUGINS = ("wal2json", "pgoutput")
ODD = layout("native", "its 's.a \\,*b", {}, partitioned=False)


def execute(isolated: Isolated, *statements: str) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def prepare(isolated: Isolated, plugin: str, of: Layout | None, *, publication: str) -> None:
    """Make the publication, and after it the slot."""
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        name = Identifier(publication)
        if of is None:
            connection.execute(SQL(sql.query("publication_create_empty")).format(publication=name))
        else:
            create = SQL(sql.query("publication_create"))
            connection.execute(create.format(publication=name, table=Identifier(of.schema, of.table)))
        connection.execute(sql.query("slot_create"), {"slot": isolated.name, "plugin": plugin})


async def stream(
    isolated: Isolated, plugin: str, of: Layout, *, prefix: str | None = None, publication: str = "relay"
) -> Sequence[OutboxEvent | Boundary[Lsn] | Fence]:
    """Stream until a fence, and return what the decoder made of it."""
    made, options = decoder(plugin, of, prefix, publication=publication)
    connection = await ReplicationConnection.connect(isolated.database_url, slot=isolated.name, name="test")
    found: list[OutboxEvent | Boundary[Lsn] | Fence] = []
    try:
        await connection.start(Lsn(0), options)
        while not any(isinstance(item, Fence) for item in found):
            arrived = [
                frame for frame in await connection.receive(silence=10) if frames.kind(frame) == frames.XLOG_DATA
            ]
            found += [item for item in made.decode(frames.changes(arrived)) if item is not None]
    finally:
        await connection.close()
    return found


FENCE = "SELECT pg_logical_emit_message(true, 'relay.fence', 'the end')"


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_stream_tells_the_events_of_its_table_whatever_the_names_are(isolated: Isolated, plugin: str) -> None:
    table = f'"{ODD.schema}"."{ODD.table}"'
    execute(isolated, f'CREATE SCHEMA "{ODD.schema}"', f"CREATE TABLE {table} (LIKE outbox.event INCLUDING ALL)")
    prepare(isolated, plugin, ODD, publication='it\'s "odd", too')
    execute(
        isolated,
        "SELECT outbox.publish('t', 'here', 1, 'e', '{}')",
        f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM outbox.event",  # noqa: S608 - an identifier of ours
        "SELECT outbox.publish('t', 'there', 1, 'e', '{}')",
        "SELECT pg_logical_emit_message(true, 'other', 'x')",
        FENCE,
    )
    found = asyncio.run(stream(isolated, plugin, ODD, publication='it\'s "odd", too'))

    assert [item.aggregate_id for item in found if isinstance(item, OutboxEvent)] == ["here"]
    assert Fence("the end") in found


@pytest.mark.parametrize(("plugin", "prefix"), [("wal2json", "it's.orders"), ("pgoutput", "it's, \\orders")])
def test_a_stream_tells_messages_instead_of_a_table(isolated: Isolated, plugin: str, prefix: str) -> None:
    prepare(isolated, plugin, None, publication="relay")
    content = '{"id": "7f2c", "aggregate_type": "t", "aggregate_id": "1", "event_type": "e", "payload": 1.10}'
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("SELECT outbox.publish('t', 'in the table', 1, 'e', '{}')")
        connection.execute("SELECT pg_logical_emit_message(true, %s, %s)", (prefix, content))
    execute(isolated, FENCE)
    found = asyncio.run(stream(isolated, plugin, NATIVE, prefix=prefix))

    assert [(event.id, event.payload) for event in found if isinstance(event, OutboxEvent)] == [("7f2c", b"1.10")]


def publication(isolated: Isolated, **names: str) -> tuple[object, ...] | None:
    asked = {"publication": "relay", "schema": "outbox", "table": "event"} | names
    with psycopg.connect(isolated.database_url) as connection:
        return connection.execute(sql.query("publication_exists"), asked).fetchone()


def test_a_publication_is_of_inserts_through_the_partitioned_table(isolated: Isolated) -> None:
    assert publication(isolated) is None
    prepare(isolated, "pgoutput", NATIVE, publication="relay")

    assert publication(isolated) == (True, True, True)
    assert publication(isolated, table="other") == (True, True, False)


def test_a_publication_of_no_table_has_none(isolated: Isolated) -> None:
    prepare(isolated, "pgoutput", None, publication="relay")

    assert publication(isolated) == (True, False, False)


def facts(isolated: Isolated, schema: str, table: str) -> TableFacts | None:
    with psycopg.connect(isolated.database_url) as connection:
        cursor = connection.cursor(row_factory=class_row(TableFacts))
        return cursor.execute(sql.query("outbox_table"), {"schema": schema, "table": table}).fetchone()


def test_the_outbox_that_setup_makes_has_the_columns_and_partitions_that_the_relay_reads(isolated: Isolated) -> None:
    execute(isolated, "SELECT outbox.create_partitions()")
    found = facts(isolated, "outbox", "event")

    assert found is not None
    assert (found.partitioned, found.other_names, found.other_tables) == (True, [], [])
    assert set(NATIVE.columns.values()) < set(found.columns)


def test_partitions_that_cannot_be_told_by_their_names_are_found(isolated: Isolated) -> None:
    execute(
        isolated,
        "CREATE SCHEMA other",
        "CREATE TABLE outbox.event_log (a int)",
        "CREATE TABLE outbox.events (a int)",
        "CREATE TABLE outbox.old PARTITION OF outbox.event FOR VALUES FROM ('2001-01-01') TO ('2001-01-02')",
        "CREATE TABLE other.event_2 PARTITION OF outbox.event FOR VALUES FROM ('2002-01-01') TO ('2002-01-02')",
    )
    found = facts(isolated, "outbox", "event")

    assert found is not None
    assert found.other_names == ["other.event_2", "outbox.old"]
    assert found.other_tables == ["outbox.event_log"]


def test_a_table_without_partitions_has_no_neighbours_that_matter(isolated: Isolated) -> None:
    execute(isolated, "CREATE TABLE plain (a int, b int)", "CREATE TABLE plain_old (a int)", "ALTER TABLE plain DROP a")

    assert facts(isolated, "public", "plain") == TableFacts(
        partitioned=False, columns=["b"], other_names=[], other_tables=[]
    )
    assert facts(isolated, "public", "missing") is None
