"""Schema 020: the same hash as the relay's, and what the database holds of relays that share an outbox."""

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import errors

from outboxkit import sql
from relay.core.hashing.partition import partition_of
from sandbox import Isolated
from tests.support.partitions import KNOWN

Connection = psycopg.Connection[Any]
OF: LiteralString = "SELECT outbox.partition_of(%s, %s, %s)"
DIVIDE: LiteralString = "INSERT INTO relay.partitioned (outbox, partitions) VALUES ('outbox.event', %s)"
ROW: LiteralString = """
INSERT INTO relay.checkpoint
    (name, mode, snapshot, system_identifier, timeline, outboxes, partitioned, partitioned_by, partition, partitions,
     vacant)
SELECT %(name)s, 'polling', pg_current_snapshot(), system_identifier::text, 1, %(outboxes)s, %(partitioned)s,
       CASE WHEN %(partitioned)s::text IS NOT NULL THEN '{aggregate_type,aggregate_id}'::text[] END,
       %(partition)s, %(partitions)s, %(vacant)s
FROM pg_control_system()
"""
MEMBER = {
    "outboxes": ["outbox.event"], "partitioned": "outbox.event", "partition": 1, "partitions": 4, "vacant": False,
}  # fmt: skip
WHOLE = {**MEMBER, "partitioned": None, "partitions": 1}


def divide(connection: Connection, of: int, *, vacant: int = 0) -> None:
    """Make relays p1, p2 and so on, one for each partition; the last `vacant` of them stand for none."""
    with connection.transaction():
        connection.execute(DIVIDE, [of])
        for n in range(1, of + 1):
            row = {"name": f"p{n}", "partition": n, "partitions": of, "vacant": n > of - vacant}
            connection.execute(ROW, {**MEMBER, **row})


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(("aggregate_type", "aggregate_id", "partitions", "number"), KNOWN)
def test_postgres_finds_the_partition_that_the_relay_does(
    connection: Connection, aggregate_type: str, aggregate_id: str, partitions: int, number: int
) -> None:
    assert connection.execute(OF, [aggregate_type, aggregate_id, partitions]).fetchone() == (number,)


def test_so_it_does_for_any_text(connection: Connection) -> None:
    aggregates = [("order", f"{n}-ä€\U0001f600{n:x}") for n in range(500)]
    rows = connection.execute(
        "SELECT outbox.partition_of(type, id, 7) FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS a (type, id, n)"
        " ORDER BY n",
        [[kind for kind, _ in aggregates], [each for _, each in aggregates]],
    ).fetchall()
    assert [row[0] for row in rows] == [partition_of(kind, each, 7) for kind, each in aggregates]


def test_all_relays_of_an_outbox_have_the_same_number_of_partitions(connection: Connection) -> None:
    divide(connection, 4)
    with pytest.raises(errors.ForeignKeyViolation, match="have the same number of partitions"):
        connection.execute("UPDATE relay.checkpoint SET partitions = 5 WHERE name = 'p2'")
    with pytest.raises(errors.UniqueViolation):
        connection.execute(DIVIDE, [3])
    with pytest.raises(errors.ForeignKeyViolation):
        connection.execute("UPDATE relay.partitioned SET partitions = 3")
    with pytest.raises(errors.UniqueViolation, match="a partition has one relay"):
        connection.execute(ROW, {**MEMBER, "name": "another"})


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM relay.checkpoint WHERE name = 'p2'",
        "DELETE FROM relay.checkpoint",
        """
        UPDATE relay.checkpoint SET partitioned = NULL, partitioned_by = NULL, partition = 1, partitions = 1
        WHERE name = 'p2'
        """,
    ],
)
def test_each_partition_has_a_position(connection: Connection, statement: LiteralString) -> None:
    divide(connection, 3)
    words = r"partition ./3 of outbox.event must have a position"
    with pytest.raises(errors.RestrictViolation, match=words) as refused, connection.transaction():
        connection.execute(statement)
    assert "rename that relay" in str(refused.value.diag.message_hint)
    assert connection.execute("SELECT count(*) FROM relay.checkpoint").fetchone() == (3,)
    connection.execute("UPDATE relay.checkpoint SET name = 'another', slot = 'its_own' WHERE name = 'p2'")


def test_a_part_of_the_positions_is_none(connection: Connection) -> None:
    connection.execute(DIVIDE, [2])
    with pytest.raises(errors.RestrictViolation, match="partition 2/2"), connection.transaction():
        connection.execute(ROW, {**MEMBER, "name": "a", "partitions": 2})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"partition": 5}, "partition lies between 1 and partitions"),
        ({"partition": 0}, "partition lies between 1 and partitions"),
        ({"partitioned": None}, "a relay that has no partition publishes all"),
        ({"partitions": 1}, "a relay that has no partition publishes all"),
        ({"outboxes": ["sales.outbox"]}, "the outbox that is divided is the relay's"),
        ({"outboxes": ["outbox.event", "sales.outbox"]}, "the outbox that is divided is the relay's"),
        ({"partitioned": None, "partitions": 1, "vacant": True}, "only a partition can be without a relay"),
    ],
)
def test_a_row_says_one_thing(connection: Connection, change: dict[str, object], words: str) -> None:
    connection.execute(DIVIDE, [4])
    with pytest.raises(errors.CheckViolation, match=words):
        connection.execute(ROW, {**MEMBER, "name": "a", **change})


def test_an_outbox_that_is_divided_in_one_is_whole(connection: Connection) -> None:
    with pytest.raises(errors.CheckViolation, match="an outbox has 2 to 256 partitions"):
        connection.execute(DIVIDE, [1])


def test_several_relays_may_each_publish_all(connection: Connection) -> None:
    for name in ("a", "b"):
        connection.execute(ROW, {**WHOLE, "name": name})
    assert connection.execute("SELECT array_agg(m) FROM relay.members('a') AS m").fetchone() == (["a"],)


def test_members_are_those_that_share_the_outbox(connection: Connection) -> None:
    divide(connection, 2)
    connection.execute(ROW, {**WHOLE, "name": "whole"})
    for name, found in (("p1", {"p1", "p2"}), ("whole", {"whole"}), ("nobody", {"nobody"})):
        assert {row[0] for row in connection.execute("SELECT relay.members(%s)", [name])} == found


def test_nothing_is_removed_that_a_partition_without_a_relay_has_not_published(connection: Connection) -> None:
    divide(connection, 2, vacant=1)
    connection.execute(
        "CREATE TABLE outbox.event_20200101 PARTITION OF outbox.event"
        " FOR VALUES FROM ('2020-01-01 00:00Z') TO ('2020-01-02 00:00Z')"
    )
    connection.execute(
        "INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload, created_at)"
        " VALUES ('order', '1', 1, 'paid', '{}', '2020-01-01 12:00Z')"
    )
    obstacle: LiteralString = "SELECT obstacle FROM outbox.old_partitions('7 days')"
    connection.execute("UPDATE relay.checkpoint SET snapshot = pg_current_snapshot() WHERE name = 'p1'")
    assert connection.execute(obstacle).fetchone() == ("it has events that were not published by relay 'p2'",)
    connection.execute("UPDATE relay.checkpoint SET snapshot = pg_current_snapshot()")
    assert connection.execute(obstacle).fetchone() == (None,)


def test_rows_of_an_older_schema_publish_all(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay, inbox CASCADE")
        for file in sql.schema():
            if file.name.startswith("020"):
                connection.execute(
                    "INSERT INTO relay.checkpoint (name, slot, lsn, system_identifier, timeline, outboxes)"
                    " VALUES ('old', 's', '0/1', '1', 1, '{outbox.event}'), ('older', 't', '0/1', '1', 1, NULL)"
                )
            connection.execute(file.text)
        rows = connection.execute(
            "SELECT partitioned, partition, partitions, vacant FROM relay.checkpoint ORDER BY name"
        ).fetchall()
        assert rows == [(None, 1, 1, False)] * 2
