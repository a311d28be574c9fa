"""tasks.cancel, tasks.reschedule and a submission for later: from any language, with no right to write to the table."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from sandbox import Isolated
from tests.integration.schema.lives import STATES, Connection, a_task, state
from tests.integration.schema.sites import Site

LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as made:
        yield made


def ask(connection: Connection, call: str, *values: object) -> str | None:
    row = connection.execute(f"SELECT tasks.{call}".encode(), values).fetchone()
    assert row is not None
    return row[0] if row[0] is None else str(row[0])


CANCELLED = {"scheduled": "cancelled", "pending": "cancelled", "running": "cancelling"}


def test_cancel_stops_what_can_be_stopped_and_returns_the_status_afterwards(connection: Connection) -> None:
    for status in STATES:
        task_id = a_task(connection, status)
        version = state(connection, task_id)[1]
        after = CANCELLED.get(status, status)
        assert ask(connection, "cancel(%s)", task_id) == after
        assert state(connection, task_id) == (after, version + (status in CANCELLED))
        assert ask(connection, "cancel(%s::text)", str(task_id)) == after
    assert ask(connection, "cancel(%s)", uuid4()) is None


def test_a_running_task_that_is_cancelled_keeps_its_claim(connection: Connection) -> None:
    task_id = a_task(connection, "running")
    claim = "SELECT claimed_by, lease_until FROM tasks.task"
    before = connection.execute(claim).fetchall()
    ask(connection, "cancel(%s)", task_id)
    assert connection.execute(claim).fetchall() == before


def test_reschedule_moves_what_no_consumer_has_and_refuses_the_rest_by_its_state(connection: Connection) -> None:
    for status in STATES:
        task_id = a_task(connection, status)
        before = state(connection, task_id)
        if status in {"pending", "scheduled"}:
            assert ask(connection, "reschedule(%s, %s)", task_id, LATER) == "scheduled"
            assert state(connection, task_id) == ("scheduled", before[1] + 1)
            assert ask(connection, "reschedule(%s::text, %s)", str(task_id), LATER) == "scheduled"
            assert connection.execute("SELECT run_at FROM tasks.task WHERE id = %s", [task_id]).fetchone() == (LATER,)
            continue
        with pytest.raises(
            psycopg.Error, match=f"task {task_id}: it is {status}, and only a pending or sched"
        ) as caught:
            ask(connection, "reschedule(%s, %s)", task_id, LATER)
        assert caught.value.sqlstate == "TK006"
        assert state(connection, task_id) == before


def test_reschedule_names_a_task_that_is_not_there_and_a_time_that_is_missing(connection: Connection) -> None:
    missing = uuid4()
    with pytest.raises(psycopg.Error, match=f"task {missing}: there is no such task") as caught:
        ask(connection, "reschedule(%s, %s)", missing, LATER)
    assert caught.value.sqlstate == "TK007"
    with pytest.raises(psycopg.errors.NullValueNotAllowed, match="run_at cannot be NULL"):
        ask(connection, "reschedule(%s, NULL)", a_task(connection, "pending"))


def test_in_a_transaction_that_sees_only_the_past_a_conflict_is_an_error_and_no_loop(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url) as old, psycopg.connect(isolated.database_url, autocommit=True) as new:
        task_id = a_task(new, "pending")
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("SELECT 1 FROM tasks.task")
        ask(new, "reschedule(%s, %s)", task_id, LATER)
        with pytest.raises(psycopg.errors.SerializationFailure):
            ask(old, "cancel(%s)", task_id)


def events(connection: Connection, task_id: UUID) -> list[int]:
    rows = connection.execute(
        "SELECT aggregate_version FROM outbox.event WHERE aggregate_id = %s::text ORDER BY seq", [task_id]
    )
    return [version for (version,) in rows]


def test_a_task_for_later_is_scheduled_and_has_no_event(connection: Connection) -> None:
    for run_at, status in ((LATER, "scheduled"), (None, "pending"), (datetime.now(UTC), "pending")):
        for payload in ("'{}'::jsonb", "'{}'::text", "'{}'"):
            task_id = UUID(str(ask(connection, f"submit('t', {payload}, run_at => %s)", run_at)))
            row = connection.execute(
                "SELECT status, version, run_at FROM tasks.task WHERE id = %s", [task_id]
            ).fetchone()
            assert row is not None
            assert row[:2] == (status, 1)
            assert row[2] == run_at or run_at is None
            assert events(connection, task_id) == ([] if status == "scheduled" else [1])
    named = (
        "submit(type => 't', run_at => %s, id => %s, max_attempts => 2, headers => '{}'::jsonb, payload => '{}'::jsonb)"
    )
    mine = uuid4()
    assert ask(connection, named, LATER, mine) == str(mine)


def test_applications_cancel_and_reschedule_without_a_right_to_the_table(site: Site) -> None:
    with psycopg.connect(site.urls["application"], autocommit=True) as application:
        task_id = UUID(str(ask(application, "submit('t', run_at => %s)", LATER)))
        assert ask(application, "reschedule(%s, %s)", task_id, LATER + timedelta(hours=1)) == "scheduled"
        assert ask(application, "cancel(%s)", str(task_id)) == "cancelled"
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            application.execute("UPDATE tasks.task SET status = 'cancelled', version = version + 1")
    for role in ("auditor", "outbox_consumer", "outbox_relay"):
        with psycopg.connect(site.urls[role], autocommit=True) as connection:
            for call in ("cancel(%s)", "reschedule(%s, now())", "cancel(%s::text)"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    ask(connection, call, str(task_id))


def test_nobodys_own_operators_decide_for_the_functions(site: Site) -> None:
    """They run with their owner's rights, so what they call must not depend on the caller's search_path."""
    query = (
        "SELECT proname FROM pg_proc WHERE pronamespace = 'tasks'::regnamespace"
        " AND (prosecdef OR prorettype = 'trigger'::regtype)"
        " AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)"
    )
    with psycopg.connect(site.isolated.database_url) as connection:
        assert connection.execute(query.encode()).fetchall() == []
