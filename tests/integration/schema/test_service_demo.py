"""The locking demo's tasks: who grabs one has it alone, and what breaks off leaves it pending."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from outboxkit import sql
from sandbox import Isolated
from tests.integration.schema.lives import Connection

STATUSES = "SELECT status, count(*) FROM tasks.task GROUP BY status"


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as made:
        yield made


def grab(connection: Connection, instance: str = "me", *, skip_locked: bool = True) -> tuple[UUID, int, int] | None:
    """Return the id, number and version of the task that was grabbed."""
    row = connection.execute(
        "SELECT id, (payload->>'number')::int, version FROM tasks.demo_grab(%s, %s)", [instance, skip_locked]
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def statuses(connection: Connection) -> dict[str, int]:
    return dict(connection.execute(STATUSES).fetchall())


def holders(connection: Connection) -> list[tuple[Any, ...]]:
    ids = [task_id for (task_id,) in connection.execute("SELECT id FROM tasks.task").fetchall()]
    rows = connection.execute(sql.query("service_holders"), {"ids": ids}).fetchall()
    return [(task_id, json.loads(holder)["instance"]) for task_id, holder in rows]


def test_each_of_many_grabs_the_oldest_task_that_is_free(connection: Connection, isolated: Isolated) -> None:
    connection.execute("SELECT tasks.demo_create(4)")
    order = [task for (task,) in connection.execute("SELECT id FROM tasks.task ORDER BY created_at, id").fetchall()]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(psycopg.connect(isolated.database_url, application_name=f"worker {number}"))
            for number in range(5)
        ]
        found = [grab(worker, f"w{number}") for number, worker in enumerate(workers)]
        assert found[4] is None
        assert [each[0] for each in found if each] == order
        assert statuses(connection) == {"pending": 4}, "nothing of it is committed"
        assert sorted(holders(connection), key=lambda each: str(each[1])) == [
            (task_id, f"worker {number}") for number, task_id in enumerate(order)
        ]
        first, second, *_ = found
        assert first is not None
        assert second is not None
        assert workers[0].execute("SELECT tasks.demo_complete(%s, %s)", [first[0], first[2]]).fetchone() == (3,)
        workers[0].commit()
        workers[1].rollback()
        assert statuses(connection) == {"completed": 1, "pending": 3}
        assert grab(workers[4]) == second
        for worker in workers:
            worker.rollback()
    assert holders(connection) == []
    assert statuses(connection) == {"completed": 1, "pending": 3}
    result = connection.execute("SELECT result, claimed_by, attempts FROM tasks.task WHERE status = 'completed'")
    assert result.fetchall() == [({"grabbed_by": "w0"}, None, 1)]


def test_a_session_whose_transaction_has_ended_holds_nothing(connection: Connection, isolated: Isolated) -> None:
    """It still has its advisory locks when the next one may have the row: Postgres gives those up last."""
    connection.execute("SELECT tasks.demo_create(2)")
    with (
        psycopg.connect(isolated.database_url, autocommit=True) as ended,
        psycopg.connect(isolated.database_url, application_name="next") as following,
    ):
        ended.execute(
            "SELECT pg_advisory_lock(tasks.demo_lock(id)) FROM tasks.task ORDER BY created_at DESC, id DESC LIMIT 1"
        )
        assert holders(connection) == []
        assert grab(following) is not None
        assert [name for _, name in holders(connection)] == ["next"]


def test_postgres_ends_a_grab_from_which_nothing_comes(connection: Connection) -> None:
    timeout: LiteralString = "SELECT current_setting('idle_in_transaction_session_timeout')"
    before = connection.execute(timeout).fetchall()
    connection.execute("SELECT tasks.demo_create(1)")
    with connection.transaction():
        assert grab(connection) is not None
        assert connection.execute(timeout).fetchall() == [("90s",)]
    assert connection.execute(timeout).fetchall() == before != [("90s",)]


def test_another_version_completes_nothing(connection: Connection) -> None:
    connection.execute("SELECT tasks.demo_create(1)")
    with connection.transaction(force_rollback=True):
        found = grab(connection)
        assert found is not None
        assert connection.execute("SELECT tasks.demo_complete(%s, 1)", [found[0]]).fetchone() == (None,)


def test_no_message_announces_them_and_no_probe_asks_for_them(connection: Connection) -> None:
    connection.execute("SELECT tasks.demo_create(3)")
    assert connection.execute("SELECT FROM outbox.event").fetchall() == []
    assert connection.execute("SELECT tasks.send_probe('0 s')").fetchall() == [(None,)]
    ((other,),) = connection.execute("SELECT tasks.submit('t')").fetchall()
    ((probe,),) = connection.execute("SELECT tasks.send_probe('0 s')").fetchall()
    connection.execute("SELECT tasks.probes_arrived(ARRAY[%s::uuid])", [probe])
    again = connection.execute("SELECT task_id FROM tasks.announce_again('0 s', 100)").fetchall()
    assert again == [(other,)]
    (pending,) = connection.execute(sql.query("status_tasks_pending")).fetchall()
    assert pending[0] == other, "no consumer is late with the demo's"


def test_a_reset_removes_them_and_no_others_and_leaves_what_is_grabbed(
    connection: Connection, isolated: Isolated
) -> None:
    connection.execute("SELECT tasks.submit('t')")
    connection.execute("SELECT tasks.demo_create(3)")
    connection.execute("SELECT tasks.submit('demo.grab', run_at => now() + interval '1 day')")
    with psycopg.connect(isolated.database_url) as worker:
        held = grab(worker)
        assert held is not None
        assert connection.execute("SELECT removed, held FROM tasks.demo_reset()").fetchall() == [(3, 1)]
        worker.execute("SELECT tasks.demo_complete(%s, %s)", [held[0], held[2]])
    assert connection.execute("SELECT removed, held FROM tasks.demo_reset()").fetchall() == [(1, 0)]
    assert connection.execute("SELECT type FROM tasks.task").fetchall() == [("t",)]


def test_the_oldest_is_found_by_its_index(connection: Connection) -> None:
    connection.execute("SELECT tasks.submit('t') FROM generate_series(1, 2000)")
    connection.execute("SELECT tasks.demo_create(2000)")
    connection.execute("ANALYZE tasks.task")
    rows = connection.execute(
        "EXPLAIN (COSTS OFF) SELECT id FROM tasks.task WHERE type = 'demo.grab' AND status = 'pending'"
        " ORDER BY created_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"
    ).fetchall()
    text = "\n".join(line for (line,) in rows)
    assert "task_demo" in text
    assert "Sort" not in text
