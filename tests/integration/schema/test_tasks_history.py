"""tasks.history: every transition in its order, bounded for each task, written by the triggers alone."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from sandbox import Isolated
from tests.integration.schema.lives import Connection, a_task, move, state
from tests.integration.schema.sites import Site

FIRST, LAST = 10, 40


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as made:
        yield made


def history(connection: Connection, task_id: UUID, columns: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT {columns} FROM tasks.history_of(%s)".encode(), [task_id]).fetchall()  # noqa: S608 - ours


def test_a_task_has_its_transitions_in_order_with_who_made_them_and_the_error(connection: Connection) -> None:
    task_id = a_task(connection, "dead")
    for status in ("pending", "running", "cancelling", "cancelled"):
        move(connection, task_id, status)
    assert history(connection, task_id, "version, from_status, to_status, by_whom, error, dropped") == [
        (1, None, "pending", "postgres", None, 0),
        (2, "pending", "running", "somebody", None, 0),
        (3, "running", "failed", "somebody", "it raised", 0),
        (4, "failed", "dead", "postgres", None, 0),
        (5, "dead", "pending", "postgres", None, 0),
        (6, "pending", "running", "somebody", None, 0),
        (7, "running", "cancelling", "postgres", None, 0),
        (8, "cancelling", "cancelled", "somebody", None, 0),
    ]
    times = [at for (at,) in history(connection, task_id, "at")]
    assert times == sorted(times)
    assert times[-1:] == [row[0] for row in connection.execute("SELECT updated_at FROM tasks.task")]


def test_the_same_error_again_is_recorded_again(connection: Connection) -> None:
    task_id = a_task(connection, "failed")
    for status in ("scheduled", "pending", "running", "failed"):
        move(connection, task_id, status)
    assert [row for row in history(connection, task_id, "version, error") if row[1]] == [
        (3, "it raised"),
        (7, "it raised"),
    ]


def test_of_a_long_life_the_first_and_the_last_transitions_stay_and_the_others_are_counted(
    connection: Connection,
) -> None:
    task_id = a_task(connection, "pending")
    other = a_task(connection, "completed")
    for reached in range(2, 90):
        move(connection, task_id, "scheduled")
        assert state(connection, task_id) == ("scheduled", reached)
        kept = history(connection, task_id, "version, dropped")
        assert [version for version, _ in kept] == [
            version for version in range(1, reached + 1) if version <= FIRST or version > reached - LAST
        ]
        assert sum(dropped for _, dropped in kept) == reached - len(kept)
        assert {version for version, dropped in kept if dropped} <= {reached - LAST + 1}
    assert len(history(connection, other, "version")) == 3


def test_one_statement_records_all_its_rows(connection: Connection) -> None:
    connection.execute("SELECT tasks.submit('t') FROM generate_series(1, 500)")
    connection.execute("UPDATE tasks.task SET status = 'cancelled', version = 2 WHERE right(id::text, 1) < '8'")
    recorded = "SELECT to_status, count(*) FROM tasks.history GROUP BY to_status"
    there = "SELECT status, count(*) FROM tasks.task WHERE status = 'cancelled' GROUP BY status"
    assert dict(connection.execute(recorded)) == {"pending": 500, **dict(connection.execute(there))}


def test_what_is_rolled_back_is_not_recorded(connection: Connection) -> None:
    task_id = a_task(connection, "pending")
    with connection.transaction(force_rollback=True):
        move(connection, task_id, "cancelled")
    assert history(connection, task_id, "version") == [(1,)]


def test_a_deleted_task_has_no_history(connection: Connection) -> None:
    gone, other = a_task(connection, "completed"), a_task(connection, "completed")
    connection.execute("DELETE FROM tasks.task WHERE id = %s", [gone])
    assert history(connection, gone, "version") == []
    assert len(history(connection, other, "version")) == 3


def test_an_insert_that_updates_instead_is_recorded_as_what_it_did(connection: Connection) -> None:
    task_id = a_task(connection, "pending")
    connection.execute(
        "INSERT INTO tasks.task (id, type) VALUES (%s, 't')"
        " ON CONFLICT (id) DO UPDATE SET status = 'cancelled', version = task.version + 1",
        [task_id],
    )
    assert history(connection, task_id, "from_status, to_status") == [(None, "pending"), ("pending", "cancelled")]


def test_a_writers_role_is_named_and_no_program_writes_the_history_itself(site: Site) -> None:
    with psycopg.connect(site.urls["application"], autocommit=True) as application:
        row = application.execute("SELECT tasks.submit('t')").fetchone()
        assert row is not None
        application.execute("SELECT tasks.cancel(%s)", [row[0]])
    with psycopg.connect(site.urls["auditor"], autocommit=True) as auditor:
        assert history(auditor, row[0], "to_status, by_whom") == [
            ("pending", "application"),
            ("cancelled", "application"),
        ]
    for role in ("application", "outbox_consumer", "auditor"):
        for statement in ("DELETE FROM tasks.history", "UPDATE tasks.history SET by_whom = 'nobody'"):
            with (
                psycopg.connect(site.urls[role]) as connection,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                connection.execute(statement.encode())


def test_the_statements_that_record_never_read_the_whole_history(connection: Connection) -> None:
    """Their plans are made when the table is still small, and are kept for the session."""
    connection.execute("SET plan_cache_mode = force_generic_plan")
    with connection.transaction():
        connection.execute("ANALYZE tasks.history")
        for _ in range(3):
            task_id = a_task(connection, "completed")
            connection.execute("DELETE FROM tasks.task WHERE id = %s", [task_id])
        long = a_task(connection, "pending")
        for _ in range(60):
            move(connection, long, "scheduled")
        row = connection.execute(
            "SELECT seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE relid = 'tasks.history'::regclass"
        ).fetchone()
    assert row == (0, 3 + 61 - 50)
