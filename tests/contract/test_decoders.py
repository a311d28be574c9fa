"""What every decoder yields for the WAL of a real server, and a poll for its rows; `Recording` fails if they differ."""

import json
import random
from datetime import datetime

import psycopg
import pytest
from msgspec import structs

from relay.core.errors import UndecodableChange
from relay.core.event import Boundary, Fence, OutboxEvent
from relay.core.position import Lsn
from sandbox.lifetime.isolation import Isolated
from tests.contract.recording import OUTBOX_ROW, ROW, Recording

PUBLISH = "SELECT outbox.publish('order', %s, 1, 'placed', %s)"


@pytest.fixture
def recording(isolated: Isolated) -> Recording:
    """Record the outbox that `relay setup` makes."""
    return Recording(isolated)


def publish(connection: psycopg.Connection[tuple[object, ...]], *names: str, payload: str = "{}") -> None:
    for name in names:
        connection.execute(PUBLISH, (name, payload))


def names(items: list[OutboxEvent]) -> list[str]:
    return [item.aggregate_id for item in items]


def stored(recording: Recording) -> list[OutboxEvent]:
    """Return the events that the table holds, in insert order."""
    rows = recording.rows(
        "SELECT id::text, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload::text,"
        " headers::text, exchange, routing_key, created_at, 'application/json', tx::text::bigint FROM outbox.event"
        " ORDER BY seq"
    )
    return [OutboxEvent(*[*row[:6], str(row[6]).encode(), json.loads(str(row[7])), *row[8:]]) for row in rows]


def test_an_event_is_its_row_in_every_field(recording: Recording) -> None:
    recording.execute(
        "SELECT outbox.publish('order', '42', 3, 'placed', '{\"total\": 12.50}')",
        "SELECT outbox.publish('größe', 'a\"b\\c', -1, E'tab\\there', '[]',"
        " '{\"traceparent\": \"00-ab\", \"n\": [1, null]}', exchange => 'other', routing_key => 'a.b.c')",
        "SELECT outbox.publish('null', 'true', 9223372036854775807, '\"', '\"\"',"
        " exchange => 'null', routing_key => '')",
    )

    assert len(recording.events()) == 3
    assert recording.events() == stored(recording)


PAYLOADS = (
    r'"tab \t quote \" backslash \\ solidus \/ control \u0001 \u001f \u007f"',
    r'"\\\\\""',
    '{"ключ": "значение", "emoji": "😀", "separator": "\u2028"}',
    r'"\u00e9\ud83d\ude00"',
    '{"n": 123456789012345678901234567890, "small": 1.10}',
    "1e400",
    "-0.0",
    "null",
    "[]",
    '""',
    '[null, false, {"a": null}]',
    '{"a": "},{\\"name\\":\\"id\\",\\"value\\":1}]}"}',
    '{"action":"C"}',
    r'"\\x00"',
)


def test_a_payload_is_the_text_that_postgres_stores(recording: Recording) -> None:
    with recording.connect() as connection:
        for payload in PAYLOADS:
            publish(connection, "a", payload=payload)

    assert [event.payload.decode() for event in recording.events()] == [
        text for (text,) in recording.rows("SELECT payload::text FROM outbox.event ORDER BY seq")
    ]


def test_a_large_payload_arrives_whole(recording: Recording) -> None:
    """It does not compress, so it is stored out of line, and the WAL has it in many pieces."""
    text = random.Random(1).randbytes(500_000).hex()  # noqa: S311 - it keeps no secret
    with recording.connect() as connection:
        publish(connection, "a", payload=f'"{text}"')

    assert [event.payload for event in recording.events()] == [f'"{text}"'.encode()]


def test_headers_keep_their_values(recording: Recording) -> None:
    texts = ['{"n": 36893488147419103232, "f": 0.25}', '{"deep": {"a": [[[{"b": "é\\n"}]]]}}', "{}"]
    for text in texts:
        recording.insert(ROW | {"headers": text})

    assert [dict(event.headers) for event in recording.events()] == [json.loads(text) for text in texts]


def test_an_event_keeps_its_time(recording: Recording) -> None:
    times = [
        "2026-11-20 20:00:00+00",
        "2026-11-20 20:00:00.1+00",
        "1969-12-31 23:59:59.999999+00",
        "2026-11-20 20:00:00+05:45",
    ]
    for time in times:
        recording.insert(ROW | {"created_at": time})

    assert [event.created_at for event in recording.events()] == [datetime.fromisoformat(time) for time in times]


def test_a_time_beyond_the_calendar_is_that_of_the_commit(recording: Recording) -> None:
    for time in ("infinity", "-infinity", "0044-03-15 BC", "294276-12-31"):
        recording.insert(ROW | {"created_at": time})
    items = recording.items()
    commits = [item.committed_at for item in items if isinstance(item, Boundary)]

    assert len(commits) == 4
    assert [event.created_at.timestamp() for event in recording.events()] == commits


def test_a_boundary_is_the_end_of_its_commit_at_the_commits_time(recording: Recording) -> None:
    with recording.connect(autocommit=False) as connection:
        publish(connection, "a", "b")
        (xid,) = connection.execute("SELECT pg_current_xact_id()::xid::text").fetchone() or ("",)
        connection.commit()
        (after,) = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone() or ("",)
    *_, boundary = recording.items()
    ((time,),) = recording.rows("SELECT extract(epoch FROM pg_xact_commit_timestamp(%s::xid))::float8", xid)

    assert isinstance(boundary, Boundary)
    assert isinstance(time, float)
    assert boundary.committed_at == pytest.approx(time, abs=1e-6)
    assert boundary.position <= Lsn.parse(str(after))
    recording.rows(
        "SELECT pg_replication_slot_advance(slot_name, %s::pg_lsn) FROM pg_replication_slots"
        " WHERE database = current_database()",
        str(boundary.position),
    )
    assert recording.items() == []


def test_transactions_without_events_yield_nothing(recording: Recording) -> None:
    recording.execute(
        "CREATE TABLE other (a int)",
        "INSERT INTO other VALUES (1)",
        "CREATE TABLE outbox.events (LIKE outbox.event)",
        "BEGIN; COMMIT",
    )
    recording.insert(
        ROW | {"seq": 1, "id": OUTBOX_ROW["id"], "tx": "1", "headers": "{}", "created_at": "now"}, "outbox.events"
    )

    assert recording.items() == []


def test_what_is_not_an_insert_yields_nothing(recording: Recording) -> None:
    recording.insert(ROW)
    first = recording.items()
    recording.execute(
        "ALTER TABLE outbox.event REPLICA IDENTITY FULL",
        "UPDATE outbox.event SET aggregate_id = '2'",
        "DELETE FROM outbox.event",
        "TRUNCATE outbox.event",
    )

    assert recording.items() == first


def test_transactions_that_interleave_arrive_whole_and_in_commit_order(recording: Recording) -> None:
    with recording.connect(autocommit=False) as early, recording.connect(autocommit=False) as late:
        publish(early, "early 1")
        publish(late, "late 1")
        publish(early, "early 2")
        publish(late, "late 2")
        late.commit()
        early.commit()

    items = recording.items()
    assert [item.aggregate_id if isinstance(item, OutboxEvent) else type(item) for item in items] == [
        "late 1", "late 2", Boundary, "early 1", "early 2", Boundary,
    ]  # fmt: skip
    assert [event.aggregate_id for event in recording.polled()] == ["early 1", "late 1", "early 2", "late 2"]


def test_what_is_rolled_back_yields_nothing(recording: Recording) -> None:
    with recording.connect(autocommit=False) as connection:
        publish(connection, "kept")
        with connection.transaction():
            publish(connection, "rolled back to a savepoint")
            raise psycopg.Rollback
        with connection.transaction():
            publish(connection, "kept in a savepoint")
        connection.commit()
        publish(connection, "rolled back")
        connection.rollback()

    assert names(recording.events()) == ["kept", "kept in a savepoint"]


def test_rows_of_a_copy_arrive_one_by_one_in_order(recording: Recording) -> None:
    columns = "aggregate_type, aggregate_id, aggregate_version, event_type, payload"
    with (
        recording.connect() as connection,
        connection.cursor().copy(f"COPY outbox.event ({columns}) FROM STDIN") as copy,
    ):
        for number in range(1000):
            copy.write_row(("t", str(number), 1, "e", "{}"))

    found = recording.events()
    assert names(found) == [str(number) for number in range(1000)]
    assert len({event.id for event in found}) == 1000


def test_every_partition_is_the_outbox(recording: Recording) -> None:
    recording.execute("SELECT outbox.create_partitions()")
    for name, time in (("today", "now"), ("tomorrow", "tomorrow"), ("default", "2000-01-01")):
        recording.insert(ROW | {"aggregate_id": name, "created_at": time})

    assert names(recording.events()) == ["today", "tomorrow", "default"]
    assert len(recording.rows("SELECT DISTINCT tableoid FROM outbox.event")) == 3


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE outbox.event_backup AS SELECT * FROM outbox.event",
        "CREATE TABLE outbox.backup AS SELECT * FROM outbox.event",
        "INSERT INTO outbox.event OVERRIDING SYSTEM VALUE SELECT * FROM outbox.event",
        "UPDATE outbox.event SET created_at = '2001-01-01'",
        """
        CREATE TABLE outbox.moved (LIKE outbox.event INCLUDING CONSTRAINTS);
        INSERT INTO outbox.moved SELECT * FROM outbox.event;
        UPDATE outbox.moved SET created_at = '2031-01-01';
        ALTER TABLE outbox.event ATTACH PARTITION outbox.moved FOR VALUES FROM ('2031-01-01') TO ('2031-01-02')
        """,
    ],
)
def test_a_row_that_is_copied_or_moved_is_no_second_event(recording: Recording, change: str) -> None:
    """A poll that comes after the change reads the rows that it finds: a copy is the same message once more."""
    recording.execute("SELECT outbox.create_partitions()")
    recording.insert(ROW | {"aggregate_id": "before"})
    recording.execute(change, "DROP TABLE IF EXISTS outbox.backup")
    recording.insert(ROW | {"aggregate_id": "after"})
    before, after = recording.streamed()

    assert names([before, after]) == ["before", "after"]
    assert {event.id for event in recording.polled()} == {before.id, after.id}


def test_a_partition_of_any_name_that_is_attached_while_streaming_is_the_outbox(recording: Recording) -> None:
    recording.insert(ROW | {"aggregate_id": "before"})
    recording.execute(
        "CREATE TABLE outbox.archive2031 (LIKE outbox.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
        "ALTER TABLE outbox.event ATTACH PARTITION outbox.archive2031 FOR VALUES FROM ('2031-01-01') TO ('2032-01-01')",
    )
    recording.insert(ROW | {"aggregate_id": "attached", "created_at": "2031-06-01"})
    recording.insert(ROW | {"aggregate_id": "after"})

    assert names(recording.events()) == ["before", "attached", "after"]


def test_columns_that_come_and_go_beside_those_of_the_event_change_nothing(recording: Recording) -> None:
    recording.insert(ROW | {"aggregate_id": "before"})
    recording.execute("ALTER TABLE outbox.event ADD COLUMN tenant text, ADD COLUMN size int DEFAULT 7")
    recording.insert(ROW | {"aggregate_id": "added", "tenant": "acme"})
    recording.execute("ALTER TABLE outbox.event RENAME COLUMN tenant TO customer")
    recording.insert(ROW | {"aggregate_id": "renamed", "customer": "acme"})
    recording.execute("ALTER TABLE outbox.event DROP COLUMN customer, DROP COLUMN size")
    recording.insert(ROW | {"aggregate_id": "dropped"})

    assert names(recording.events()) == ["before", "added", "renamed", "dropped"]
    assert [structs.replace(event, headers={}) for event in recording.events()] == stored(recording)


@pytest.mark.parametrize(
    ("change", "row", "column"),
    [
        ("DROP COLUMN exchange CASCADE", ROW, "exchange"),
        (
            "RENAME COLUMN event_type TO kind",
            {"kind" if k == "event_type" else k: v for k, v in ROW.items()},
            "event_type",
        ),
    ],
)
def test_a_column_of_the_event_that_goes_ends_the_stream_with_its_name_behind_what_was_written_before(
    recording: Recording, change: str, row: dict[str, object], column: str
) -> None:
    recording.insert(ROW)
    recording.execute(f"ALTER TABLE outbox.event {change}")
    recording.insert(row)
    event, boundary, problem = recording.items()

    assert isinstance(event, OutboxEvent)
    assert isinstance(boundary, Boundary)
    assert f"table outbox.event has no column '{column}'" in str(problem)
    with pytest.raises(UndecodableChange, match=f"table outbox.event has no column '{column}'"):
        recording.polled()


def test_fences_keep_their_place_and_messages_of_others_are_ignored(recording: Recording) -> None:
    with recording.connect(autocommit=False) as connection:
        publish(connection, "before")
        connection.execute("SELECT pg_logical_emit_message(true, 'relay.fence', E'1:2 \"3\\n\\\\')")
        connection.execute("SELECT pg_logical_emit_message(true, 'other', 'x')")
        connection.execute("SELECT pg_logical_emit_message(true, 'relay.fence', '\\xff'::bytea)")
        publish(connection, "after")
        connection.execute("SELECT pg_logical_emit_message(false, 'relay.fence', 'outside of any transaction')")
    before, fence, _, after, _ = items = recording.items()

    assert [type(item) for item in items] == [OutboxEvent, Fence, Fence, OutboxEvent, Boundary]
    assert isinstance(fence, Fence)
    assert (fence.content, before, after) == ('1:2 "3\n\\', *recording.events())


def test_decoders_agree_about_many_concurrent_sessions(recording: Recording) -> None:
    """Transactions of all shapes overlap: large and small, with savepoints, rollbacks, fences and other tables."""
    chance = random.Random(7)  # noqa: S311 - it keeps no secret
    recording.execute("CREATE TABLE other (a text)")
    sessions = [recording.connect(autocommit=False) for _ in range(6)]
    for number in range(500):
        session = chance.choice(sessions)
        match chance.randrange(8):
            case 0:
                session.commit()
            case 1:
                session.rollback()
            case 2:
                session.execute("SELECT pg_logical_emit_message(true, 'relay.fence', %s)", (str(number),))
            case 3:
                session.execute("INSERT INTO other VALUES ('x')")
            case 4:
                with session.transaction(force_rollback=chance.random() < 0.5):
                    publish(session, f"{number} in a savepoint")
            case _:
                publish(session, str(number), payload=json.dumps({"é\n": "x" * chance.randrange(5000)}))
    for session in sessions:
        session.commit()
        session.close()
    found = recording.events(overlapping=True)

    assert sorted(found, key=lambda event: event.seq) == stored(recording)
    assert len(found) > 100
