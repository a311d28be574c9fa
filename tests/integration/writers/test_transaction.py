"""`submit` and `publish` write in the caller's transaction, on the caller's connection of either kind."""

from asyncio import run
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from sandbox import Isolated
from writers import NewEvent, NewTask, NotAllowed, NotSetUp, Refused, publish, submit, submit_many

Connection = psycopg.Connection[Any]
TASKS = "SELECT id, type, payload, status, version, max_attempts FROM tasks.task ORDER BY created_at"
EVENTS = "SELECT id, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers FROM outbox.event"
BIG = "x" * 1024 * 1024
TOO_BIG = "payload must be at most 1 MiB (1048576 bytes) as JSON text"


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    """Yield the caller's connection: psycopg's default, a transaction is open from the first statement on."""
    with psycopg.connect(isolated.database_url) as connection:
        yield connection


@pytest.fixture
def other(isolated: Isolated) -> Iterator[Connection]:
    """Yield a connection that sees what is committed."""
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        yield connection


def committed(other: Connection) -> tuple[list[UUID], int]:
    """Return the ids of the committed tasks in insert order, and the number of committed events."""
    tasks = [row[0] for row in other.execute(TASKS)]
    return tasks, len(other.execute(EVENTS).fetchall())


class TestTask:
    def test_a_commit_leaves_the_task_and_the_event_that_announces_it(
        self, connection: Connection, other: Connection
    ) -> None:
        task = NewTask("send", {"to": "Zoë", "n": 2**70}, max_attempts=3, headers={"traceparent": "00-ab"})
        assert assert_type(submit(connection, task), UUID) == task.id
        assert committed(other) == ([], 0), "not before the caller commits"
        connection.commit()
        assert other.execute(TASKS).fetchall() == [(task.id, "send", {"to": "Zoë", "n": 2**70}, "pending", 1, 3)]
        [(event_id, *event)] = other.execute(EVENTS).fetchall()
        announcement = {"task_id": str(task.id), "type": "send", "version": 1}
        assert event == ["task", str(task.id), 1, "pending", announcement, {"traceparent": "00-ab"}]
        assert event_id != task.id

    def test_a_task_for_later_is_not_announced(self, connection: Connection, other: Connection) -> None:
        later = datetime.now(UTC) + timedelta(days=1)
        submit_many(connection, [NewTask("send", run_at=later), NewTask("send", run_at=later - timedelta(days=2))])
        connection.commit()
        tasks = other.execute("SELECT status, run_at - %s FROM tasks.task ORDER BY run_at", [later]).fetchall()
        assert tasks == [("pending", timedelta(days=-2)), ("scheduled", timedelta(0))]
        assert committed(other)[1] == 1

    def test_a_rollback_leaves_nothing(self, connection: Connection, other: Connection) -> None:
        submit(connection, NewTask("send"))
        connection.rollback()
        assert committed(other) == ([], 0)

    def test_it_commits_and_rolls_back_with_the_callers_own_change(
        self, connection: Connection, other: Connection
    ) -> None:
        def pay() -> None:
            with connection.transaction():
                connection.execute("INSERT INTO orders VALUES (1)")
                submit(connection, NewTask("send"))
                connection.execute("INSERT INTO receipts VALUES (1)")

        other.execute("CREATE TABLE orders (id integer); CREATE TABLE receipts (id integer UNIQUE)")
        pay()
        with pytest.raises(psycopg.errors.UniqueViolation):
            pay()
        assert other.execute("SELECT * FROM orders").fetchall() == [(1,)]
        assert committed(other)[1] == 1

    def test_a_savepoint_that_is_rolled_back_removes_only_its_own_task(
        self, connection: Connection, other: Connection
    ) -> None:
        with connection.transaction():
            kept = submit(connection, NewTask("send"))
            with connection.transaction(force_rollback=True):
                submit(connection, NewTask("send"))
        assert committed(other) == ([kept], 1)

    def test_many_tasks_are_written_in_their_order(self, connection: Connection, other: Connection) -> None:
        tasks = [NewTask("send", {"n": n}) for n in range(500)]
        assert assert_type(submit_many(connection, iter(tasks)), list[UUID]) == [task.id for task in tasks]
        assert submit_many(connection, []) == []
        connection.commit()
        assert committed(other) == ([task.id for task in tasks], 500)

    def test_the_same_id_is_refused_so_a_transaction_in_doubt_can_be_repeated(
        self, connection: Connection, other: Connection
    ) -> None:
        task = NewTask("send")
        submit(connection, task)
        connection.commit()
        with pytest.raises(Refused, match=rf"Key \(id\)=\({task.id}\) already exists"):
            submit(connection, task)
        connection.rollback()
        assert committed(other) == ([task.id], 1)


class TestEvent:
    def test_an_event_is_written_under_its_own_id(self, connection: Connection, other: Connection) -> None:
        event = NewEvent("order", "42", 7, "paid", [1, None, "ü"], {"a": 1}, exchange="elsewhere", routing_key="a.b")
        assert assert_type(publish(connection, event), UUID) == event.id
        assert committed(other) == ([], 0)
        connection.commit()
        assert other.execute(EVENTS).fetchall() == [(event.id, "order", "42", 7, "paid", [1, None, "ü"], {"a": 1})]
        assert other.execute("SELECT exchange, routing_key FROM outbox.event").fetchall() == [("elsewhere", "a.b")]


class TestAsync:
    def test_the_caller_commits_or_rolls_back(self, isolated: Isolated, other: Connection) -> None:
        tasks = [NewTask("send") for _ in range(3)]

        async def write() -> None:
            async with await psycopg.AsyncConnection.connect(isolated.database_url) as connection:
                await assert_type(submit(connection, NewTask("send")), Coroutine[Any, Any, UUID])
                await connection.rollback()
                assert await submit(connection, tasks[0]) == tasks[0].id
                assert await submit_many(connection, tasks[1:]) == [task.id for task in tasks[1:]]
                await publish(connection, NewEvent("order", "42", 7, "paid"))
                assert committed(other) == ([], 0)
                await connection.commit()

        run(write())
        assert committed(other) == ([task.id for task in tasks], 4)

    def test_a_refusal_has_the_same_text(self, isolated: Isolated) -> None:
        async def write() -> None:
            async with await psycopg.AsyncConnection.connect(isolated.database_url) as connection:
                with pytest.raises(Refused) as caught:
                    await submit(connection, NewTask("send", BIG))
                assert TOO_BIG in str(caught.value)

        run(write())


# Tasks, and how the error names the limit that they break.
REFUSED = [
    (NewTask("send", BIG), TOO_BIG),
    (NewTask(""), "type must not be empty"),
    (NewTask("send", max_attempts=0), "max_attempts must be at least 1"),
    (NewTask("send", max_attempts=2**31), "integer out of range"),
    (NewTask("send", headers={"a": "x" * 32768}), "headers must be at most 32 KiB (32768 bytes) as JSON text"),
    (NewTask("send", headers=["a"]), "headers must be a JSON object"),  # type: ignore[arg-type]
    (NewTask("send", "a\0b"), "unsupported Unicode escape sequence"),
    (NewTask("a\0b"), "NUL"),
    (NewTask("send", float("nan")), "invalid input syntax for type json"),
]


class TestRefused:
    def test_a_task_says_which_limit_it_breaks(self, connection: Connection, subtests: pytest.Subtests) -> None:
        for task, why in REFUSED:
            with subtests.test(why):
                with pytest.raises(Refused) as caught:
                    submit(connection, task)
                assert why in caught.value.what
                assert BIG[:100] not in str(caught.value), "the error does not contain the row"
            connection.rollback()

    def test_an_event_says_which_limit_it_breaks(self, connection: Connection) -> None:
        with pytest.raises(Refused, match="bigint out of range"):
            publish(connection, NewEvent("order", "42", 2**63, "paid"))
        connection.rollback()
        with pytest.raises(Refused) as caught:
            publish(connection, NewEvent("order", "42", 1, "paid", BIG))
        assert TOO_BIG in caught.value.what

    def test_one_bad_task_among_many_leaves_none(self, connection: Connection, other: Connection) -> None:
        with pytest.raises(Refused, match="1 MiB"):
            submit_many(connection, [NewTask("send"), NewTask("send", BIG), NewTask("send")])
        connection.rollback()
        submit(connection, NewTask("send"))
        connection.commit()
        assert committed(other)[1] == 1, "and the connection can still be used"


class TestDatabase:
    def test_a_database_without_the_schema_needs_relay_setup(self, connection: Connection) -> None:
        connection.execute("DROP SCHEMA outbox, tasks CASCADE")
        connection.commit()
        with pytest.raises(NotSetUp, match="run `relay setup`"):
            submit(connection, NewTask("send"))
        connection.rollback()
        with pytest.raises(NotSetUp, match="run `relay setup`"):
            publish(connection, NewEvent("order", "42", 7, "paid"))

    def test_a_role_without_privileges_learns_which_it_needs(self, connection: Connection) -> None:
        connection.execute("SET ROLE pg_monitor")
        with pytest.raises(NotAllowed, match=r"permission denied for schema tasks.*grant it USAGE"):
            submit(connection, NewTask("send"))

    def test_a_lost_connection_stays_the_callers_own_error(self, connection: Connection, other: Connection) -> None:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            submit(connection, NewTask("send"))


class TestCallersConnection:
    @pytest.mark.parametrize("cursors", [psycopg.Cursor, psycopg.ClientCursor, psycopg.RawCursor])
    def test_its_row_and_cursor_factories_do_not_matter(
        self, cursors: type[psycopg.Cursor[Any]], isolated: Isolated, other: Connection
    ) -> None:
        with psycopg.connect(isolated.database_url, row_factory=dict_row, cursor_factory=cursors) as connection:
            task_id = submit(connection, NewTask("send"))
        assert committed(other) == ([task_id], 1)

    def test_its_pipeline_is_used(self, connection: Connection, other: Connection) -> None:
        with connection.pipeline():
            ids = [submit(connection, NewTask("send")) for _ in range(3)]
        connection.commit()
        assert committed(other) == (ids, 3)

    def test_prepared_statements_can_be_off_as_a_transaction_pooler_requires(
        self, connection: Connection, other: Connection
    ) -> None:
        connection.prepare_threshold = None
        submit_many(connection, [NewTask("send") for _ in range(3)])
        assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
        connection.commit()
        assert committed(other)[1] == 3
