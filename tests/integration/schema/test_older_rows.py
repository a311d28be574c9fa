"""What an older schema has stored is still there, and usable, after the files that came later."""

from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from outboxkit import sql
from sandbox import Isolated
from tests.integration.relay.stage import call, environment
from tests.integration.schema.lives import EDGES, STATES, move

TASKS = """
INSERT INTO tasks.task (type, status, version, attempts, lease_until, claimed_by, result, last_error)
SELECT status, status, 7, 9, CASE WHEN leased THEN now() END, CASE WHEN leased THEN 'somebody' END, '1', 'e'
FROM unnest(%s::text[]) AS status,
     LATERAL (SELECT status IN ('running', 'cancelling') AS leased) AS l
"""
OLDER = """
INSERT INTO relay.parked (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers,
                          created_at, relay, reason, detail)
SELECT 'e' || n, n, 'order', '42', n, 'paid', '{}', '{"n": 1.0}', now(), 'relay', 'returned', 'no queue takes it'
FROM generate_series(1, 3) AS n
"""


def test_parked_rows_keep_their_ids_and_get_numbers(isolated: Isolated) -> None:
    files = {file.name[:3]: file for file in sql.schema()}
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay, inbox CASCADE")
        for number, file in sorted(files.items()):
            if number == "008":
                connection.execute(OLDER)
            connection.execute(file.text)

    rows = call(environment(isolated), "parked", "list", "--json").json
    assert [(row["row"], row["id"]) for row in rows] == [(1, "e1"), (2, "e2"), (3, "e3")]
    assert call(environment(isolated), "slot", "create").code == 0
    assert call(environment(isolated), "parked", "redrive", "e1").code == 0
    assert call(environment(isolated), "parked", "discard", "--row", "2", "--yes").code == 0
    listed = call(environment(isolated), "parked", "list", "--json").json
    assert [(row["id"], row["asked_at"] is None) for row in listed] == [("e1", False), ("e3", True)]


def test_tasks_in_any_state_stay_and_go_on(isolated: Isolated) -> None:
    """Also those that could not be inserted so today."""
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay, inbox CASCADE")
        for file in sql.schema():
            if file.name.startswith("012"):
                connection.execute(TASKS, [list(STATES)])
            connection.execute(file.text)
        tasks: dict[str, UUID] = dict(connection.execute("SELECT type, id FROM tasks.task").fetchall())
        assert set(tasks) == set(STATES)
        for before, after in EDGES:
            with connection.transaction(force_rollback=True):
                move(connection, tasks[before], after)
        kept: dict[str, str] = dict(connection.execute("SELECT type, tasks.cancel(id) FROM tasks.task").fetchall())
        assert {before for before, after in kept.items() if before != after} == {"scheduled", "pending", "running"}
        rows = connection.execute("SELECT version, dropped FROM tasks.history_of(%s)", [tasks["running"]]).fetchall()
        assert rows == [(8, 7)]
        assert connection.execute("SELECT count(*) FROM tasks.end_expired_claims(10)").fetchone() == (3,)
        assert connection.execute("SELECT status FROM tasks.task WHERE type = 'failed'").fetchone() == ("dead",)


@pytest.mark.parametrize("statement", ["SELECT tasks.submit('t')", "SELECT FROM tasks.transition"])
def test_the_states_wait_for_nobody_who_has_a_task_open(isolated: Isolated, statement: LiteralString) -> None:
    """They give up and name who is in the way; writers go on."""
    files = {file.name[:3]: file for file in sql.schema()}
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay, inbox CASCADE")
        for number, file in sorted(files.items()):
            if number < "012":
                connection.execute(file.text)
        with psycopg.connect(isolated.database_url) as writing:
            writing.execute(statement)
            refusal = f"is open: process {writing.info.backend_pid}\n"
            with pytest.raises(psycopg.errors.LockNotAvailable, match=refusal), connection.transaction():
                connection.execute(files["012"].text)
        connection.execute(files["012"].text)
        assert connection.execute("SELECT count(*) FROM tasks.history").fetchone() == (0,)
