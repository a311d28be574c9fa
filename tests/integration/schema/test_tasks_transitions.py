"""The trigger on tasks.task allows exactly the edges below, each with the next version; its errors name the reason."""

import itertools
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from sandbox import Isolated

Connection = psycopg.Connection[Any]

STATES = ("scheduled", "pending", "running", "completed", "failed", "dead", "cancelling", "cancelled")
EDGES = {
    ("scheduled", "pending"),
    ("scheduled", "cancelled"),
    ("pending", "running"),
    ("pending", "cancelled"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "pending"),
    ("running", "cancelling"),
    ("cancelling", "cancelled"),
    ("failed", "scheduled"),
    ("failed", "dead"),
    ("dead", "pending"),
}
TERMINAL = ("completed", "cancelled")
LEASED = ("running", "cancelling")
VERSION = 7


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as made:
        yield made


def a_task(connection: Connection, status: str) -> UUID:
    task_id = uuid4()
    connection.execute(
        "INSERT INTO tasks.task (id, type, status, version, lease_until, claimed_by)"
        " VALUES (%(id)s, 't', %(status)s, %(version)s,"
        " CASE WHEN %(leased)s THEN clock_timestamp() END, CASE WHEN %(leased)s THEN 'somebody' END)",
        {"id": task_id, "status": status, "version": VERSION, "leased": status in LEASED},
    )
    return task_id


def move(connection: Connection, task_id: UUID, status: str, version: int) -> None:
    connection.execute(
        "UPDATE tasks.task SET status = %(status)s, version = %(version)s,"
        " lease_until = CASE WHEN %(leased)s THEN clock_timestamp() END,"
        " claimed_by = CASE WHEN %(leased)s THEN 'somebody' END WHERE id = %(id)s",
        {"id": task_id, "status": status, "version": version, "leased": status in LEASED},
    )


def state(connection: Connection, task_id: UUID) -> tuple[str, int]:
    row = connection.execute("SELECT status, version FROM tasks.task WHERE id = %s", [task_id]).fetchone()
    assert row is not None
    return row[0], row[1]


def test_every_pair_of_states_is_an_edge_of_the_matrix_or_refused_by_name(connection: Connection) -> None:
    taken = {pair for pair in itertools.product(STATES, STATES) if _is_taken(connection, *pair)}
    assert taken == EDGES


def _is_taken(connection: Connection, before: str, after: str) -> bool:
    task_id = a_task(connection, before)
    if (before, after) in EDGES:
        move(connection, task_id, after, VERSION + 1)
        return state(connection, task_id) == (after, VERSION + 1)
    refusal = f"task {task_id}: cannot go from {before} to {after}"
    with pytest.raises(psycopg.errors.CheckViolation, match=refusal):
        move(connection, task_id, after, VERSION + 1)
    assert state(connection, task_id) == (before, VERSION)
    return False


def test_an_edge_is_one_version_further_or_refused(connection: Connection) -> None:
    for (before, after), version in itertools.product(EDGES, (1, VERSION - 1, VERSION, VERSION + 2)):
        task_id = a_task(connection, before)
        refusal = f"task {task_id}: going from {before} to {after} must raise version {VERSION} .* to {version}"
        with pytest.raises(psycopg.errors.CheckViolation, match=refusal):
            move(connection, task_id, after, version)
        assert state(connection, task_id) == (before, VERSION)


def test_a_terminal_task_does_not_change(connection: Connection) -> None:
    for status in TERMINAL:
        task_id = a_task(connection, status)
        refusal = f"task {task_id}: cannot go from {status} to {status}"
        with pytest.raises(psycopg.errors.CheckViolation, match=refusal):
            connection.execute("UPDATE tasks.task SET result = '1' WHERE id = %s", [task_id])
        with pytest.raises(psycopg.errors.CheckViolation, match=refusal):
            connection.execute("UPDATE tasks.task SET last_error = 'late' WHERE id = %s", [task_id])


def test_a_lease_can_be_extended_only_while_there_is_one(connection: Connection) -> None:
    running, pending = a_task(connection, "running"), a_task(connection, "pending")
    connection.execute("UPDATE tasks.task SET lease_until = clock_timestamp() + '1 min' WHERE id = %s", [running])
    assert state(connection, running) == ("running", VERSION)
    with pytest.raises(psycopg.errors.CheckViolation, match="cannot go from pending to pending"):
        connection.execute("UPDATE tasks.task SET attempts = 3 WHERE id = %s", [pending])


def test_an_id_never_changes(connection: Connection) -> None:
    task_id = a_task(connection, "running")
    with pytest.raises(psycopg.errors.CheckViolation, match=f"task {task_id}: its id cannot change"):
        connection.execute("UPDATE tasks.task SET id = gen_random_uuid() WHERE id = %s", [task_id])


def test_a_running_task_without_a_lease_is_refused(connection: Connection) -> None:
    for status in LEASED:
        task_id = a_task(connection, status)
        with pytest.raises(psycopg.errors.CheckViolation, match="a lease and a claimer exactly while it runs"):
            connection.execute("UPDATE tasks.task SET lease_until = NULL WHERE id = %s", [task_id])
