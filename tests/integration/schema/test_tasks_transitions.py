"""The trigger on tasks.task allows exactly the edges of the matrix, each with the next version, for every role."""

import itertools
from collections.abc import Iterator
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from outboxkit import sql
from sandbox import Isolated
from tests.integration.schema.lives import EDGES, STATES, TERMINAL, Connection, a_task, move, state
from tests.integration.schema.sites import Site

REFUSED, VERSION, COLUMN, NOT_ALLOWED = "TK001", "TK002", "TK003", "42501"
PAIRS = list(itertools.product(STATES, STATES))


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as made:
        yield made


def outcome(administrator: Connection, connection: Connection, before: str, after: str) -> str | None:
    """Return with which SQLSTATE the change is refused to the role of `connection`; None if it is made."""
    task_id = a_task(administrator, before)
    was = state(administrator, task_id)
    try:
        move(connection, task_id, after)
    except psycopg.Error as error:
        return (
            error.sqlstate if _is_told(error, task_id, before, after) and state(administrator, task_id) == was else "?"
        )
    assert state(administrator, task_id) == (after, was[1] + 1)
    return None


def _is_told(error: psycopg.Error, task_id: UUID, before: str, after: str) -> bool:
    told = f"task {task_id}: cannot go from {before} to {after}; {ways_out(before)}"
    return error.sqlstate != REFUSED or error.diag.message_primary == told


def ways_out(status: str) -> str:
    there = sorted(after for before, after in EDGES if before == status)
    return f"from {status} it can go to {', '.join(there)}" if there else f"{status} is final"


def test_every_pair_of_states_is_an_edge_of_the_matrix_or_refused_by_name(connection: Connection) -> None:
    found = {pair: outcome(connection, connection, *pair) for pair in PAIRS}
    assert found == {pair: None if pair in EDGES else REFUSED for pair in PAIRS}
    assert set(connection.execute("SELECT from_status, to_status FROM tasks.transition")) == EDGES


def test_every_pair_is_the_same_for_each_role_that_may_write(site: Site) -> None:
    """A role that may not write at all is refused before the state is looked at."""
    allowed = {pair: None if pair in EDGES else REFUSED for pair in PAIRS}
    expected = {
        "outbox_owner": allowed,
        "outbox_consumer": allowed,
        "application": dict.fromkeys(PAIRS, NOT_ALLOWED),
        "auditor": dict.fromkeys(PAIRS, NOT_ALLOWED),
    }
    with psycopg.connect(site.isolated.database_url, autocommit=True) as administrator:
        for role, outcomes in expected.items():
            with psycopg.connect(site.urls[role], autocommit=True) as connection:
                assert {pair: outcome(administrator, connection, *pair) for pair in PAIRS} == outcomes, role


def test_an_edge_is_one_version_further_or_refused(connection: Connection) -> None:
    for before, after in EDGES:
        task_id = a_task(connection, before)
        was = state(connection, task_id)
        for version in (was[1] - 1, was[1], was[1] + 2, was[1] + 77):
            refusal = (
                f"task {task_id}: going from {before} to {after} must raise version {was[1]} by one, not set it to"
                if (before, version) != (after, was[1])
                else "needs a transition"
            )
            with pytest.raises(psycopg.Error, match=refusal) as caught:
                move(connection, task_id, after, version=version)
            assert caught.value.sqlstate == (COLUMN if (before, version) == (after, was[1]) else VERSION)
            assert state(connection, task_id) == was


def test_a_terminal_task_does_not_change(connection: Connection) -> None:
    for status in TERMINAL:
        task_id = a_task(connection, status)
        for change in ("result = '1'", "last_error = 'late'", "run_at = now()", "attempts = 3", "updated_at = now()"):
            with pytest.raises(psycopg.Error, match=f"task {task_id}: it is {status} at version .*{status} ") as caught:
                connection.execute(f"UPDATE tasks.task SET {change} WHERE id = %s".encode(), [task_id])  # noqa: S608 - ours
            assert caught.value.sqlstate == COLUMN


NEVER = (
    ("cancelled", "running"),
    ("cancelling", "running"),
    ("completed", "pending"),
    ("dead", "scheduled"),
    ("scheduled", "running"),
    ("pending", "completed"),
)


def test_the_matrix_itself_refuses_what_no_edge_may_be(connection: Connection) -> None:
    for pair in NEVER:
        with pytest.raises(psycopg.errors.CheckViolation, match=r"a task can only become|are final|can become"):
            connection.execute("INSERT INTO tasks.transition VALUES (%s, %s, 'no')", pair)


CLAIM = (sql.query("task_claim"), {"versions": [1], "asked": None, "worker": "w", "lease": 30})
COMPLETE = (sql.query("task_complete"), {"version": 2, "result": None})


@pytest.mark.parametrize(
    ("before", "after", "change"), [("pending", "running", CLAIM), ("running", "completed", COMPLETE)]
)
def test_an_edge_that_is_taken_out_of_the_matrix_is_refused(
    connection: Connection, before: str, after: str, change: tuple[LiteralString, dict[str, object]]
) -> None:
    """Also these two, which the trigger lets through without a call for each row."""
    task_id = a_task(connection, before)
    connection.execute("DELETE FROM tasks.transition WHERE (from_status, to_status) = (%s, %s)", [before, after])
    statement, parameters = change
    with pytest.raises(psycopg.Error, match=f"cannot go from {before} to {after}") as refused:
        connection.execute(statement, parameters | {"id": task_id, "ids": [task_id]})
    assert refused.value.sqlstate == REFUSED


def test_whoever_may_read_no_matrix_is_judged_by_it(connection: Connection) -> None:
    """A role with rights of its own on tasks.task gets the law's answer, and not `permission denied`."""
    task_id = a_task(connection, "pending")
    connection.execute("GRANT USAGE ON SCHEMA tasks TO pg_monitor")
    connection.execute("GRANT SELECT, UPDATE ON tasks.task TO pg_monitor")
    connection.execute("SET ROLE pg_monitor")
    with pytest.raises(psycopg.Error, match="cannot go from pending to completed"):
        move(connection, task_id, "completed")
    move(connection, task_id, "cancelled")


def test_a_superuser_skips_the_law_only_by_saying_so(connection: Connection) -> None:
    """docs/states.md says it: what is applied as a replica's changes fires no trigger."""
    task_id = a_task(connection, "cancelled")
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL session_replication_role = replica")
        move(connection, task_id, "running", version=77)
    connection.execute("ALTER TABLE tasks.task ENABLE ALWAYS TRIGGER check_task_transition")
    connection.execute("SET session_replication_role = replica")
    with pytest.raises(psycopg.Error) as caught:
        move(connection, task_id, "running")
    assert caught.value.sqlstate == REFUSED
