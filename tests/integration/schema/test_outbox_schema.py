"""The outbox tables and functions on a real server: what is written, where it lands, and what is refused.

Partitions are made while writers write: that neither fails nor makes them fail is what these tests are about.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from sandbox import Isolated
from sandbox.machine.waiting import until

Connection = psycopg.Connection[Any]
PUBLISH = "SELECT outbox.publish('order', '42', 7, 'paid', '{}')"
WITH_HEADERS = "SELECT outbox.publish('order', '42', 7, 'paid', '{}', headers => %s)"
CREATE = "SELECT outbox.create_partitions()"


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(CREATE)  # midnight may have passed since the schema was applied
        yield connection


@pytest.fixture
def other(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def today(connection: Connection) -> date:
    return day(connection, "SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")


def day(connection: Connection, question: str) -> date:
    found = value(connection, question)
    assert isinstance(found, date)
    return found


def value(connection: Connection, question: str, *arguments: object) -> object:
    row = connection.execute(question.encode(), arguments).fetchone()
    assert row is not None
    return row[0]


def partition(of: date) -> str:
    return f"outbox.event_{of:%Y%m%d}"


def partitions(connection: Connection) -> set[str]:
    rows = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'outbox.event'::regclass"
    )
    return {name for (name,) in rows}


def landed(connection: Connection) -> list[str]:
    """Return the partition of each event, in insert order."""
    return [name for (name,) in connection.execute("SELECT tableoid::regclass::text FROM outbox.event ORDER BY seq")]


class TestPublish:
    def test_an_event_is_written_as_it_was_given(self, connection: Connection) -> None:
        event_id = uuid4()
        answer = value(
            connection,
            "SELECT outbox.publish('order', '42', 7, 'paid', '{\"total\": 1.50}', '{\"traceparent\": \"00-ab\"}',"
            " %s, 'elsewhere', 'a.b')",
            event_id,
        )
        assert answer == event_id
        assert connection.execute(
            "SELECT id, aggregate_type, aggregate_id, aggregate_version, event_type, payload::text, headers,"
            " exchange, routing_key FROM outbox.event"
        ).fetchall() == [
            (event_id, "order", "42", 7, "paid", '{"total": 1.50}', {"traceparent": "00-ab"}, "elsewhere", "a.b")
        ]

    def test_what_is_left_out_has_defaults(self, connection: Connection) -> None:
        event_id = value(connection, PUBLISH)
        assert isinstance(event_id, UUID)
        assert connection.execute("SELECT id, headers, exchange, routing_key FROM outbox.event").fetchall() == [
            (event_id, {}, None, None)
        ]

    def test_it_knows_its_transaction_and_the_insert_order(self, connection: Connection) -> None:
        with connection.transaction():
            first = value(connection, PUBLISH)
            second = value(connection, PUBLISH)
            transaction = value(connection, "SELECT pg_current_xact_id()::text")
        rows = connection.execute("SELECT id, tx::text FROM outbox.event ORDER BY seq").fetchall()
        assert rows == [(first, transaction), (second, transaction)]

    def test_a_rollback_leaves_nothing(self, connection: Connection) -> None:
        with connection.transaction(force_rollback=True):
            connection.execute(PUBLISH)
        assert landed(connection) == []

    def test_a_role_needs_no_more_than_insert(self, connection: Connection) -> None:
        connection.execute("GRANT USAGE ON SCHEMA outbox, tasks TO pg_monitor")
        connection.execute("GRANT INSERT ON outbox.event, tasks.task TO pg_monitor")
        connection.execute("SET ROLE pg_monitor")
        connection.execute(PUBLISH)
        connection.execute("SELECT tasks.submit('a')")
        connection.execute("RESET ROLE")
        assert len(landed(connection)) == 2


# Arguments of outbox.publish, and the limit that they break.
REFUSED = [
    ("'', '42', 7, 'paid', '{}'", "aggregate_type must not be empty"),
    ("'order', '', 7, 'paid', '{}'", "aggregate_id must not be empty"),
    ("'order', '42', 7, '', '{}'", "event_type must not be empty"),
    ("'order', '42', 7, 'paid', '{}', '[]'", "headers must be a JSON object"),
    ("'order', '42', 7, 'paid', '{}', '\"text\"'", "headers must be a JSON object"),
    ("'order', '42', 7, 'paid', '{}', 'null'", "headers must be a JSON object"),
    (
        "'order', '42', 7, 'paid', '{}', jsonb_build_object('a', repeat('x', 32768))",
        "headers must be at most 32 KiB (32768 bytes) as JSON text",
    ),
    ("'a', '42', 7, 'e', '{}', exchange => repeat('x', 256)", "exchange must be at most 255 bytes"),
    (
        "'a', '42', 7, 'e', '{}', routing_key => repeat('ü', 128)",
        "routing_key must be at most 255 bytes",
    ),
    (
        "repeat('x', 128), '1', 7, repeat('x', 127), '{}'",
        "aggregate_type.event_type must be at most 255 bytes",
    ),
]


class TestRefused:
    def test_the_message_says_what_is_wrong(self, connection: Connection, subtests: pytest.Subtests) -> None:
        for event, why in REFUSED:
            with subtests.test(event):
                with pytest.raises(psycopg.errors.CheckViolation) as caught:
                    value(connection, f"SELECT outbox.publish({event})")
                assert caught.value.diag.constraint_name == why

    @pytest.mark.parametrize(
        "function", ["outbox.publish('order', '42', 7, 'paid', %s::jsonb)", "tasks.submit('a', %s)"]
    )
    def test_a_payload_over_1_mib_is_refused_with_the_limit_and_one_of_1_mib_is_not(
        self, function: str, connection: Connection
    ) -> None:
        most = '"' + "x" * (1024 * 1024 - 2) + '"'
        value(connection, f"SELECT {function}", most)
        with pytest.raises(psycopg.errors.CheckViolation) as caught:
            value(connection, f"SELECT {function}", '"x' + most[1:])
        assert "payload must be at most 1 MiB (1048576 bytes) as JSON text" in str(caught.value)
        assert caught.value.diag.constraint_name == "payload must be at most 1 MiB (1048576 bytes) as JSON text"

    def test_headers_nest_as_deep_as_the_client_for_go_reads_and_no_deeper(self, connection: Connection) -> None:
        for opened, closed in (("[", "]"), ('{"a": ', "}")):
            deepest, deeper = (f'{{"a": {opened * depth}1{closed * depth}}}' for depth in (32, 33))
            value(connection, WITH_HEADERS, deepest)
            with pytest.raises(psycopg.errors.CheckViolation) as caught:
                value(connection, WITH_HEADERS, deeper)
            assert caught.value.diag.constraint_name == "headers must nest at most 32 objects and arrays"

    def test_an_array_in_headers_is_as_long_as_the_client_for_go_reads_and_no_longer(
        self, connection: Connection
    ) -> None:
        longest, longer = (f'{{"a": {{"b": [{"1," * (items - 1)}1]}}}}' for items in (8192, 8193))
        value(connection, WITH_HEADERS, longest)
        with pytest.raises(psycopg.errors.CheckViolation) as caught:
            value(connection, WITH_HEADERS, longer)
        assert caught.value.diag.constraint_name == "an array in headers must hold at most 8192 items"

    def test_many_small_objects_in_headers_are_no_depth(self, connection: Connection) -> None:
        value(connection, WITH_HEADERS, f'{{"a": [{"{}," * 999}{{}}]}}')

    def test_nothing_of_a_refused_task_stays(self, connection: Connection) -> None:
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("SELECT tasks.submit('a', headers => '[]')")
        assert value(connection, "SELECT count(*) FROM tasks.task") == 0


class TestPartitions:
    def test_a_row_lands_in_the_partition_of_its_day_in_utc(self, connection: Connection, today: date) -> None:
        connection.execute("SET timezone = 'Pacific/Kiritimati'")  # 14 hours ahead
        connection.execute(PUBLISH)
        assert landed(connection) == [partition(today)]

    def test_rows_of_days_without_a_partition_go_to_the_default_partition(
        self, connection: Connection, today: date
    ) -> None:
        for days in (-2, 100):  # the database may have been made before midnight
            insert_at(connection, today + timedelta(days))
        assert landed(connection) == ["outbox.event_default"] * 2

    def test_a_week_ahead_is_made_once(self, connection: Connection, today: date) -> None:
        week = {partition(today + timedelta(n)) for n in range(8)}
        assert partitions(connection) >= week | {"outbox.event_default"}
        connection.execute("SET timezone = 'Pacific/Kiritimati'")
        assert value(connection, CREATE) == 0
        assert value(connection, "SELECT outbox.create_partitions(days => 9)") == 2

    def test_every_partition_has_the_constraints_and_the_index(self, connection: Connection) -> None:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM pg_constraint WHERE conrelid = inhrelid AND contype = 'c'),"
            " (SELECT count(*) FROM pg_index WHERE indrelid = inhrelid)"
            " FROM pg_inherits WHERE inhparent = 'outbox.event'::regclass"
        ).fetchall()
        assert set(counts) == {(11, 1)}

    def test_a_day_of_which_the_default_partition_has_rows_is_left_there(
        self, connection: Connection, today: date
    ) -> None:
        insert_at(connection, today + timedelta(8))
        assert value(connection, "SELECT outbox.create_partitions(days => 9)") == 1
        assert partition(today + timedelta(8)) not in partitions(connection)
        assert partition(today + timedelta(9)) in partitions(connection)

    def test_open_transactions_of_writers_neither_block_it_nor_are_blocked(
        self, connection: Connection, other: Connection
    ) -> None:
        other.execute("SET lock_timeout = '100ms'")
        with other.transaction():
            other.execute(PUBLISH)
            with connection.transaction():
                connection.execute("SET LOCAL lock_timeout = '100ms'")
                assert value(connection, "SELECT outbox.create_partitions(days => 9)") == 2
                other.execute(PUBLISH)
        assert len(landed(connection)) == 2

    def test_a_long_transaction_in_the_default_partition_defers_it_and_breaks_no_writer(
        self, connection: Connection, other: Connection, today: date
    ) -> None:
        warnings: list[str | None] = []
        connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary))
        with other.transaction():
            insert_at(other, today + timedelta(100))
            assert value(connection, "SELECT outbox.create_partitions(days => 9)") == 0
        assert value(connection, "SELECT outbox.create_partitions(days => 9)") == 2
        assert len(warnings) == 1
        assert "left to the default partition" in str(warnings[0])

    def test_two_at_once_do_not_wait_for_each_other(self, connection: Connection, other: Connection) -> None:
        with connection.transaction():
            assert value(connection, "SELECT outbox.create_partitions(days => 9)") == 2
            assert value(other, "SELECT outbox.create_partitions(days => 9)") == 0


class TestTodayHasNoPartition:
    """Without maintenance, rows go to the default partition; making today's partition must not lose one."""

    @pytest.fixture(autouse=True)
    def _without_today(self, connection: Connection, today: date) -> None:
        connection.execute(f"DROP TABLE {partition(today)}".encode())

    def test_it_is_made_when_no_transaction_writes(self, connection: Connection, today: date) -> None:
        assert value(connection, CREATE) == 1
        connection.execute(PUBLISH)
        assert landed(connection) == [partition(today)]

    def test_it_is_not_made_while_a_transaction_writes(
        self, connection: Connection, other: Connection, today: date
    ) -> None:
        with other.transaction():
            other.execute("SELECT tasks.submit('a')")
            assert value(connection, CREATE) == 0
        assert landed(connection) == ["outbox.event_default"]
        assert partition(today) not in partitions(connection)

    def test_a_row_that_comes_while_it_is_made_is_not_refused(
        self, connection: Connection, other: Connection, today: date
    ) -> None:
        with ThreadPoolExecutor() as threads:
            with connection.transaction():
                assert value(connection, CREATE) == 1
                writing = threads.submit(other.execute, PUBLISH)
                until(
                    lambda: value(
                        connection,
                        "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s",
                        other.info.backend_pid,
                    ),
                    what="the writer waits for the partition",
                    seconds=5,
                )
            writing.result(timeout=5)
        assert landed(connection) == [partition(today)]


def insert_at(connection: Connection, when: date) -> None:
    """Write an event of another day, which outbox.publish cannot."""
    connection.execute(
        "INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload, created_at)"
        " VALUES ('order', '42', 7, 'paid', '{}', %s)",
        [datetime(when.year, when.month, when.day, 12, tzinfo=UTC)],
    )
