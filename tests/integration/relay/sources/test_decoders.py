"""Both plugins through START_REPLICATION: options as they are quoted there, publications, and facts of the table."""

import asyncio
from collections.abc import Sequence

import psycopg
import pytest
from psycopg.rows import kwargs_row
from psycopg.sql import SQL, Identifier

from outboxkit import sql
from outboxkit.errors import Problem
from relay.core.errors import SourceRefused
from relay.core.event import Boundary, Fence, OutboxEvent
from relay.core.position import Lsn
from relay.sources.layout import NATIVE, Layout, layout
from relay.sources.tables import check, check_publication
from relay.sources.wal import frames
from relay.sources.wal.decoders.decoding import decoder
from relay.sources.wal.decoders.relations import Relations
from relay.sources.wal.replication import ReplicationConnection
from relay.storage.facts import ColumnFacts, TableFacts, table_facts
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
    relations = Relations.of(of, facts(isolated, of.schema, of.table))
    made, options = decoder(plugin, of, prefix, publication=publication, relations=relations)
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
        f"INSERT INTO {table} (aggregate_type, aggregate_id, aggregate_version, event_type, payload)"  # noqa: S608 - ours
        " VALUES ('t', 'here', 1, 'e', '{}')",
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


def facts(isolated: Isolated, schema: str = "outbox", table: str = "event") -> TableFacts:
    with psycopg.connect(isolated.database_url) as connection:
        cursor = connection.cursor(row_factory=kwargs_row(table_facts))
        asked = {"schema": schema, "table": table, "publication": "relay"}
        found = cursor.execute(sql.query("outbox_table"), asked).fetchone()
    assert found is not None
    return found


def test_the_outbox_that_setup_makes_has_the_columns_and_partitions_that_the_relay_reads(isolated: Isolated) -> None:
    execute(isolated, "SELECT outbox.create_partitions()")
    found = facts(isolated)

    assert len(found.leaves) in {9, 10}  # the database may have been made before midnight
    assert ("outbox", "event_default") in found.leaves
    assert set(NATIVE.columns.values()) < {column.name for column in found.columns}
    for plugin in PLUGINS:
        check(found, NATIVE, plugin=plugin)


def test_partitions_are_found_by_what_they_are_and_not_by_their_names(isolated: Isolated) -> None:
    execute(
        isolated,
        "CREATE SCHEMA other",
        "CREATE TABLE outbox.event_log (a int)",
        "CREATE TABLE outbox.old PARTITION OF outbox.event FOR VALUES FROM ('2001-01-01') TO ('2001-01-02')",
        "CREATE TABLE outbox.event_2 PARTITION OF outbox.event FOR VALUES FROM ('2002-01-01') TO ('2003-01-01')"
        " PARTITION BY RANGE (created_at)",
        "CREATE TABLE other.event_3 PARTITION OF outbox.event_2 FOR VALUES FROM ('2002-01-01') TO ('2002-01-02')",
    )
    found = facts(isolated)

    assert {("other", "event_3"), ("outbox", "event_default"), ("outbox", "old")} < set(found.leaves)
    assert ("outbox", "event_2") not in found.leaves
    assert found.others == ["event_log", "retired"]


def test_a_table_without_partitions_is_its_own_leaf_and_has_no_neighbours_that_matter(isolated: Isolated) -> None:
    execute(isolated, "CREATE TABLE plain (a int, b int)", "CREATE TABLE plain_old (a int)", "ALTER TABLE plain DROP a")
    found = facts(isolated, "public", "plain")

    assert (found.kind, found.leaves, found.others) == ("r", [("public", "plain")], [])
    assert found.columns == [ColumnFacts("b", 23, 23, "integer")]
    assert facts(isolated, "public", "missing").kind is None


OUTBOX = "id text, aggregatetype text, aggregateid text, type text, payload jsonb"
BY_TYPE = f"CREATE TABLE t ({OUTBOX}) PARTITION BY LIST (type)"
UNLOGGED = "CREATE UNLOGGED TABLE"
AWAY = "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER away FOREIGN DATA WRAPPER far"


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize(
    ("made", "words", "by_the_remedy"),
    [
        (f"{UNLOGGED} t ({OUTBOX})", "public.t: the rows of unlogged tables", True),
        (
            f"{BY_TYPE}; CREATE TABLE a PARTITION OF t DEFAULT; {UNLOGGED} b PARTITION OF t FOR VALUES IN ('b')",
            "public.b: the rows of unlogged tables",
            True,
        ),
        (
            f"{BY_TYPE}; {AWAY}; CREATE FOREIGN TABLE a PARTITION OF t DEFAULT SERVER away",
            "public.a: the rows of a partition that is a foreign table",
            True,
        ),
        (
            f"CREATE TABLE t ({OUTBOX}); CREATE TABLE child () INHERITS (t)",
            "child: the rows of tables that inherit from public.t",
            False,
        ),
        ("CREATE VIEW t AS TABLE outbox.event", "public.t is a view", False),
        ("CREATE MATERIALIZED VIEW t AS TABLE outbox.event", "public.t is a materialized view", False),
        (f"{AWAY}; CREATE FOREIGN TABLE t ({OUTBOX}) SERVER away", "public.t is a foreign table", False),
        (
            f"CREATE TABLE t ({OUTBOX.replace('jsonb', 'oid')})",
            r"'payload' \(oid\) of public.t has the number of a large object",
            False,
        ),
        (
            f"CREATE DOMAIN lo AS oid; CREATE TABLE t ({OUTBOX.replace('jsonb', 'lo')})",
            r"'payload' \(lo\) of public.t has the number of a large object",
            False,
        ),
        ("CREATE TABLE t (id text, type text)", "no column 'aggregatetype', 'aggregateid', 'payload'", False),
    ],
)
def test_a_table_that_no_stream_can_tell_is_refused_and_the_remedy_in_sql_works(
    isolated: Isolated, plugin: str, made: str, words: str, *, by_the_remedy: bool
) -> None:
    execute(isolated, *made.split(";"))
    found = facts(isolated, "public", "t")
    of = layout("debezium", "public.t", {}, partitioned=found.partitioned)
    with pytest.raises(Problem, match=words) as refused:
        check(found, of, plugin=plugin)
    if by_the_remedy:
        execute(isolated, *refused.value.remedy.split(";"))
        check(facts(isolated, "public", "t"), of, plugin=plugin)


def test_a_generated_column_is_not_in_the_stream_of_pgoutput_and_in_that_of_wal2json(isolated: Isolated) -> None:
    columns = "id text, aggregatetype text, aggregateid text, kind text, payload jsonb"
    execute(isolated, f"CREATE TABLE t ({columns}, type text GENERATED ALWAYS AS (kind || '.made') STORED)")
    execute(isolated, "CREATE PUBLICATION relay FOR TABLE t")
    found = facts(isolated, "public", "t")
    of = layout("debezium", "public.t", {}, partitioned=False)

    check(found, of, plugin="wal2json")
    with pytest.raises(SourceRefused, match=r"does not send the generated columns of public.t: 'type' \(text\)"):
        check(found, of, plugin="pgoutput")


PARTITIONED = "CREATE PUBLICATION relay FOR TABLE outbox.event"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("CREATE PUBLICATION relay WITH (publish_via_partition_root = true)", "does not contain outbox.event"),
        (PARTITIONED, "publishes partitions under their own names"),
        ("CREATE PUBLICATION relay FOR ALL TABLES", "publishes partitions under their own names"),
        ("CREATE PUBLICATION relay", "does not contain outbox.event and publishes partitions under their own names"),
        (f"{PARTITIONED} WITH (publish = 'update, delete', publish_via_partition_root = true)", "publish inserts"),
        (
            f"{PARTITIONED} WHERE (seq > 1) WITH (publish_via_partition_root = true, publish = 'insert')",
            "by the filter",
        ),
        (
            f"{PARTITIONED} (id, seq, tx, payload) WITH (publish_via_partition_root = true, publish = 'insert')",
            "hides columns aggregate_id, aggregate_type, aggregate_version, created_at, event_type, exchange, headers",
        ),
    ],
)
def test_a_publication_that_lacks_events_is_refused_and_the_remedy_works(
    isolated: Isolated, made: str, words: str
) -> None:
    execute(isolated, made)
    with pytest.raises(SourceRefused, match=words) as refused:
        check_publication(facts(isolated), NATIVE, "relay")

    statements, _, _ = refused.value.remedy.removeprefix("if nobody else reads it: ").partition("; otherwise")
    execute(isolated, *statements.split(";"))
    check_publication(facts(isolated), NATIVE, "relay")


@pytest.mark.parametrize(
    "made",
    [
        f"{PARTITIONED} WITH (publish_via_partition_root = true)",
        "CREATE PUBLICATION relay FOR ALL TABLES WITH (publish_via_partition_root = true)",
        "CREATE PUBLICATION relay FOR TABLES IN SCHEMA outbox WITH (publish_via_partition_root = true)",
    ],
)
def test_a_publication_of_more_than_the_outbox_is_accepted(isolated: Isolated, made: str) -> None:
    execute(isolated, made)
    check_publication(facts(isolated), NATIVE, "relay")


@pytest.mark.parametrize("settings", ["", "?options=-c%20client_min_messages%3Derror"], ids=["", "without warnings"])
def test_a_stream_ends_before_what_was_left_out_because_the_publication_was_missing(
    isolated: Isolated, settings: str
) -> None:
    """PostgreSQL 18 and later go on with what comes after it, and only warn; older ones report an error."""

    async def read(found: list[OutboxEvent]) -> None:
        relations = Relations.of(NATIVE, facts(isolated))
        made, options = decoder("pgoutput", NATIVE, None, publication="relay", relations=relations)
        url = isolated.database_url + settings
        connection = await ReplicationConnection.connect(url, slot=isolated.name, name="test")
        try:
            await connection.start(Lsn(0), options)
            while True:
                arrived = await connection.receive(silence=10)
                data = frames.changes([frame for frame in arrived if frames.kind(frame) == frames.XLOG_DATA])
                found += [item for item in made.decode(data) if isinstance(item, OutboxEvent)]
        finally:
            await connection.close()

    prepare(isolated, "pgoutput", NATIVE, publication="relay")
    publish = "SELECT outbox.publish('t', '{}', 1, 'e', '{{}}')"
    execute(isolated, publish.format("before"), "DROP PUBLICATION relay", publish.format("left out"))
    execute(isolated, PARTITIONED + " WITH (publish_via_partition_root = true)", publish.format("after"), FENCE)
    found: list[OutboxEvent] = []
    with pytest.raises(SourceRefused, match=r"publication.*relay.*run `relay setup`"):
        asyncio.run(read(found))
    assert [event.aggregate_id for event in found] == ["before"]
