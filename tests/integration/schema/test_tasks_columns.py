"""Which columns of a task change, and when; where a task may begin, and when it may go. For the owner too."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from sandbox import Isolated
from tests.integration.schema.lives import EDGES, LEASED, STATES, TERMINAL, Connection, a_task, move, sqlstate, state
from tests.integration.schema.sites import Site

COLUMN, START, REMOVAL = "TK003", "TK004", "TK005"
LATER = datetime.now(UTC) + timedelta(days=1)

# One change of each column; a claim or a lease ends with its time in the past.
CHANGES = {
    "id": "gen_random_uuid()",
    "type": "'other'",
    "payload": """'{"n": 2}'""",
    "max_attempts": "max_attempts + 1",
    "created_at": "created_at - interval '1 s'",
    "attempts": "attempts + 1",
    "run_at": "clock_timestamp()",
    "claimed_by": "'somebody else'",
    "last_error": "'changed'",
    "result": "'1'",
}


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as made:
        yield made


def test_without_a_transition_no_column_changes_but_a_lease(connection: Connection) -> None:
    for status in STATES:
        task_id = a_task(connection, status)
        for column, value in CHANGES.items():
            change = f"UPDATE tasks.task SET {column} = {value} WHERE id = %s"  # noqa: S608 - ours
            assert sqlstate(connection, change, task_id) == COLUMN, (status, column)
        extended = "UPDATE tasks.task SET lease_until = clock_timestamp() + interval '9 min' WHERE id = %s"
        assert sqlstate(connection, extended, task_id) == (None if status in LEASED else COLUMN), status
        ended = "UPDATE tasks.task SET lease_until = NULL WHERE id = %s"
        assert sqlstate(connection, ended, task_id) == ("23514" if status in LEASED else COLUMN), status


def test_an_extended_lease_is_no_change_of_the_task(connection: Connection) -> None:
    task_id = a_task(connection, "running")
    before = connection.execute("SELECT status, version, updated_at FROM tasks.task").fetchall()
    connection.execute("UPDATE tasks.task SET lease_until = clock_timestamp() + '9 min', updated_at = now()")
    assert connection.execute("SELECT status, version, updated_at FROM tasks.task").fetchall() == before
    assert len(connection.execute("SELECT FROM tasks.history_of(%s)", [task_id]).fetchall()) == 2


def test_what_a_task_is_never_changes_on_any_edge(connection: Connection) -> None:
    values: dict[str, Any] = {
        "id": uuid4(),
        "type": "other",
        "payload": '{"n": 2}',
        "max_attempts": 9,
        "created_at": LATER,
    }
    for before, after in EDGES:
        for column, value in values.items():
            task_id = a_task(connection, before)
            with pytest.raises(psycopg.Error, match=f"^task {task_id}: its {column} cannot change") as caught:
                move(connection, task_id, after, **{column: value})
            assert caught.value.sqlstate == COLUMN


def test_a_statement_that_sets_what_is_there_already_is_no_change(connection: Connection) -> None:
    """Programs that write every column of a row, as many mappers do, can work with tasks."""
    task_id = a_task(connection, "pending")
    move(connection, task_id, "cancelled", type="t", payload="{}", max_attempts=5)
    assert state(connection, task_id) == ("cancelled", 2)


# What attempts may become on an edge, from 1 where the task has run before and 0 where it has not.
ATTEMPTS = {
    ("pending", "running"): {1},
    ("dead", "pending"): {0},
    ("running", "pending"): {0, 1},
    **{edge: {0} for edge in EDGES if edge[0] in {"pending", "scheduled"} and edge[1] != "running"},
}


def test_attempts_follow_the_claims(connection: Connection) -> None:
    for edge in EDGES:
        task_id = a_task(connection, edge[0])
        taken = {value for value in range(4) if _is_taken(connection, task_id, edge[1], attempts=value)}
        assert taken == ATTEMPTS.get(edge, {1}), edge


def _is_taken(connection: Connection, task_id: UUID, after: str, **columns: Any) -> bool:  # noqa: ANN401 - a column's
    try:
        with connection.transaction(force_rollback=True):
            move(connection, task_id, after, **columns)
    except psycopg.Error as error:
        if error.sqlstate != COLUMN:
            raise
        return False
    return True


def test_the_other_columns_change_only_on_their_edges(connection: Connection) -> None:
    allowed = {
        "result": {("running", "completed")},
        "last_error": {edge for edge in EDGES if edge[0] in LEASED and edge[1] != "cancelling"},
        "run_at": {edge for edge in EDGES if edge[1] == "scheduled"},
    }
    values = {"result": '{"a": 1}', "last_error": "changed", "run_at": LATER}
    for column, value in values.items():
        tasks = {edge: a_task(connection, edge[0]) for edge in EDGES}
        taken = {edge for edge in EDGES if _is_taken(connection, tasks[edge], edge[1], **{column: value})}
        assert taken == allowed[column], column


def test_a_task_that_is_asked_to_stop_is_still_its_claimers(connection: Connection) -> None:
    task_id = a_task(connection, "running")
    assert not _is_taken(connection, task_id, "cancelling", claimed_by="somebody else")
    assert not _is_taken(connection, task_id, "cancelling", lease_until=LATER)
    assert _is_taken(connection, task_id, "cancelling")


def test_a_failed_task_says_why(connection: Connection) -> None:
    assert not _is_taken(connection, a_task(connection, "running"), "failed", last_error=None)


def test_a_claim_has_a_lease_and_its_end_has_none(connection: Connection) -> None:
    named = "a task has a lease and a claimer exactly while it runs"
    for before, after, columns in (
        ("pending", "running", {"lease_until": None}),
        ("pending", "running", {"claimed_by": None}),
        ("running", "completed", {"lease_until": LATER}),
        ("running", "pending", {"claimed_by": "somebody"}),
    ):
        with pytest.raises(psycopg.errors.CheckViolation, match=named):
            move(connection, a_task(connection, before), after, **columns)


BEGINNINGS = {
    "status = 'running', lease_until = now(), claimed_by = 'me'": START,
    **{f"status = '{status}'": START for status in STATES if status not in {"pending", "scheduled", *LEASED}},
    "status = 'completed', version = 77": START,
    "version = 2": START,
    "attempts = 1": START,
    "result = '1'": START,
    "last_error = 'no'": START,
    "lease_until = now()": START,
    "claimed_by = 'me'": START,
    "status = 'pending'": None,
    "status = 'scheduled', run_at = now()": None,
    "max_attempts = 9, payload = '[1]'": None,
}


def test_a_task_begins_as_pending_or_scheduled_and_with_nothing_done(connection: Connection) -> None:
    for columns, refusal in BEGINNINGS.items():
        pairs = [each.split(" = ") for each in columns.split(", ")]
        names, values = (", ".join(each) for each in zip(*pairs, strict=True))
        insert = f"INSERT INTO tasks.task (type, {names}) VALUES ('t', {values})"  # noqa: S608 - ours
        assert sqlstate(connection, insert) == refusal, columns


def test_the_refusals_name_the_task(connection: Connection) -> None:
    task_id = uuid4()
    with pytest.raises(psycopg.Error, match=f"task {task_id}: it cannot begin as completed at version 77") as caught:
        connection.execute(
            "INSERT INTO tasks.task (id, type, status, version) VALUES (%s, 't', 'completed', 77)", [task_id]
        )
    assert "begins as pending or scheduled, at version 1" in str(caught.value.diag.message_hint)
    running = a_task(connection, "running")
    with pytest.raises(psycopg.Error, match=f"task {running}: it is running, and only a completed, cancelled or dead"):
        connection.execute("DELETE FROM tasks.task WHERE id = %s", [running])


def test_only_terminal_tasks_are_deleted_and_none_by_truncate(connection: Connection) -> None:
    for status in STATES:
        found = sqlstate(connection, "DELETE FROM tasks.task WHERE id = %s", a_task(connection, status))
        assert found == (None if status in TERMINAL else REMOVAL), status
    assert sqlstate(connection, "TRUNCATE tasks.task") == REMOVAL
    assert sqlstate(connection, "TRUNCATE tasks.task, tasks.history CASCADE") == REMOVAL
    assert sqlstate(connection, "DELETE FROM tasks.task") == REMOVAL


RIGHTS = {
    # What each role is told for the cases of CASES.md, K10.
    "outbox_owner": (COLUMN, COLUMN, START, REMOVAL, REMOVAL),
    "outbox_consumer": ("42501", COLUMN, "42501", "42501", "42501"),
    "application": ("42501", "42501", "42501", "42501", "42501"),
    "outbox_service": ("42501", "42501", "42501", "42501", "42501"),
    "auditor": ("42501", "42501", "42501", "42501", "42501"),
}
CASES = (
    """UPDATE tasks.task SET payload = '{"n": 2}' WHERE id = '{id}'""",
    "UPDATE tasks.task SET attempts = 0, claimed_by = 'me' WHERE id = '{id}'",
    "INSERT INTO tasks.task (type, status, version) VALUES ('t', 'completed', 77)",
    "DELETE FROM tasks.task WHERE id = '{id}'",
    "TRUNCATE tasks.task",
)
FORGED = "INSERT INTO tasks.history VALUES (gen_random_uuid(), 1, NULL, 'pending', now(), 'me')"


def test_each_role_is_refused_by_its_rights_or_by_the_law(site: Site) -> None:
    with psycopg.connect(site.isolated.database_url, autocommit=True) as administrator:
        task_id = a_task(administrator, "running")
        for role, refusals in RIGHTS.items():
            with psycopg.connect(site.urls[role], autocommit=True) as connection:
                found = tuple(sqlstate(connection, case.replace("{id}", str(task_id))) for case in CASES)
                assert found == refusals, role
                assert sqlstate(connection, FORGED) == (None if role == "outbox_owner" else "42501")
        assert state(administrator, task_id) == ("running", 2)
