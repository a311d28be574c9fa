"""What schema 018 gives to the task submission service: one task for each key, changes by version, lists."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, Self
from uuid import UUID, uuid4

import psycopg
import pytest

from outboxkit import sql
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.schema.lives import STATES, Connection, a_task, state
from tests.integration.schema.sites import Site

LATER = datetime.now(UTC) + timedelta(days=1)
CANCELLED = {"scheduled": "cancelled", "pending": "cancelled", "running": "cancelling"}
WAITING: LiteralString = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as made:
        yield made


def once(connection: Connection, key: str = "k", digest: str = "d") -> tuple[UUID, bool, bool]:
    """Submit a task with a key; returns its id, whether it was made, and whether the request is the same."""
    row = connection.execute(
        "SELECT task_id, made, same FROM tasks.submit_once(%s, %s, 't', '{}', 5, '{}', %s, NULL)",
        [key, digest, uuid4()],
    ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def count(connection: Connection, table: LiteralString) -> int:
    ((found,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608 - a table of ours
    return int(found)


def changed(connection: Connection, call: LiteralString, *values: object) -> tuple[Any, ...]:
    statement = f"SELECT changed, status, version FROM tasks.{call}"  # noqa: S608 - the same
    (row,) = connection.execute(statement.encode(), values).fetchall()
    return tuple(row)


def test_a_key_makes_one_task_and_its_event_and_another_request_with_it_writes_nothing(connection: Connection) -> None:
    task_id, made, same = once(connection)
    assert (made, same) == (True, True)
    assert once(connection) == (task_id, False, True)
    assert once(connection, digest="another") == (task_id, False, False)
    assert once(connection, "k2")[1:] == (True, True)
    assert count(connection, "tasks.task") == count(connection, "outbox.event") == 2


def test_who_comes_while_the_first_is_open_waits_and_gets_what_that_one_has_made(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url) as first:
        task_id, *_ = once(first)
        with _meanwhile(isolated) as second:
            first.commit()
        assert second.found == [(task_id, False, True)]
        assert count(first, "tasks.task") == 1


def test_when_the_first_is_rolled_back_the_second_makes_the_task(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url) as first:
        task_id, *_ = once(first)
        with _meanwhile(isolated) as second:
            first.rollback()
        ((made_id, *rest),) = second.found
        assert (made_id != task_id, rest) == (True, [True, True])
        assert first.execute("SELECT id FROM tasks.task").fetchall() == [(made_id,)]


class _meanwhile:  # noqa: N801 - used as a function
    """Submits with the same key in another session; the block begins when that waits, and ends when it has ended."""

    def __init__(self, isolated: Isolated) -> None:
        self._isolated = isolated
        self.found: list[tuple[UUID, bool, bool]] = []

    def __enter__(self) -> Self:
        self._connection = psycopg.connect(self._isolated.database_url, autocommit=True)
        self._thread = threading.Thread(target=lambda: self.found.append(once(self._connection)))
        self._thread.start()
        pid = self._connection.info.backend_pid
        with psycopg.connect(self._isolated.database_url, autocommit=True) as watching:
            until(lambda: watching.execute(WAITING, [pid]).fetchone() == (1,), what="the second waits", seconds=20)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(20)
        self._connection.close()


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_has_1_to_255_characters(connection: Connection, key: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        once(connection, key)
    assert caught.value.diag.constraint_name == "key must have 1 to 255 characters"


def test_old_keys_are_removed_in_batches_and_make_tasks_again(connection: Connection) -> None:
    for number in range(5):
        once(connection, f"k{number}")
    connection.execute("UPDATE tasks.request SET at = at - interval '1 hour' WHERE key < 'k3'")
    removed = [
        connection.execute("SELECT tasks.prune_requests(interval '30 min', 2)").fetchone() for _ in range(3)
    ]  # fmt: skip
    assert removed == [(2,), (1,), (0,)]
    assert [made for _, made, _ in (once(connection, f"k{number}") for number in range(5))] == [True] * 3 + [False] * 2


@pytest.mark.parametrize("expects", ["nothing", "its version", "another version"])
def test_a_task_is_cancelled_only_at_the_version_that_was_expected(connection: Connection, expects: str) -> None:
    for status in STATES:
        task_id = a_task(connection, status)
        version = state(connection, task_id)[1]
        expected = {"nothing": None, "its version": version, "another version": version - 1}[expects]
        changes = status in CANCELLED and expects != "another version"
        after = (CANCELLED[status], version + 1) if changes else (status, version)
        assert changed(connection, "try_cancel(%s, %s)", task_id, expected) == (changes, *after)
        assert state(connection, task_id) == after
    assert changed(connection, "try_cancel(%s, NULL)", uuid4()) == (False, None, None)


@pytest.mark.parametrize("expects", ["nothing", "its version", "another version"])
def test_a_task_is_rescheduled_only_at_the_version_that_was_expected(connection: Connection, expects: str) -> None:
    for status in STATES:
        task_id = a_task(connection, status)
        version = state(connection, task_id)[1]
        expected = {"nothing": None, "its version": version, "another version": version + 1}[expects]
        changes = status in {"scheduled", "pending"} and expects != "another version"
        after = ("scheduled", version + 1) if changes else (status, version)
        assert changed(connection, "try_reschedule(%s, %s, %s)", task_id, LATER, expected) == (changes, *after)
        assert state(connection, task_id) == after
    assert changed(connection, "try_reschedule(%s, %s, NULL)", uuid4(), LATER) == (False, None, None)


def test_who_waited_for_another_change_sees_the_version_that_it_left(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as first:
        task_id = a_task(first, "pending")
        found: list[tuple[Any, ...]] = []
        with psycopg.connect(isolated.database_url, autocommit=True) as second:
            thread = threading.Thread(
                target=lambda: found.append(changed(second, "try_cancel(%s, %s)", task_id, 1)), daemon=True
            )
            with first.transaction():
                assert changed(first, "try_reschedule(%s, %s, %s)", task_id, LATER, 1) == (True, "scheduled", 2)
                thread.start()
                pid = second.info.backend_pid
                until(lambda: first.execute(WAITING, [pid]).fetchone() == (1,), what="the second waits", seconds=20)
            thread.join(20)
        assert found == [(False, "scheduled", 2)]


def test_a_row_that_another_transaction_keeps_is_waited_for_for_two_seconds_only(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url) as holder, psycopg.connect(isolated.database_url) as asking:
        task_id = a_task(holder, "pending")
        holder.commit()
        holder.execute("SELECT FROM tasks.task FOR UPDATE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            changed(asking, "try_cancel(%s, NULL)", task_id)


def test_tasks_of_the_version_before_are_listed_and_changed(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay, inbox CASCADE")
        before: dict[str, UUID] = {}
        for file in sql.schema():
            if file.name.startswith("018"):
                before = {status: a_task(connection, status) for status in STATES}
            connection.execute(file.text)
        assert len(before) == len(STATES)
        listed = connection.execute(sql.query("service_list"), _page(100)).fetchall()
        assert [row[0] for row in listed] == list(reversed(before.values()))
        for status, after in CANCELLED.items():
            assert changed(connection, "try_cancel(%s, NULL)", before[status])[:2] == (True, after)
        assert once(connection)[1:] == (True, True)


def _page(limit: int) -> dict[str, Any]:
    names = ("before_at", "before_id", "statuses", "type", "created_before", "created_after")
    return dict.fromkeys(names) | {"limit": limit, "bytes": 4_194_304}


def test_a_page_is_read_by_its_index_whatever_the_size_of_the_table(connection: Connection) -> None:
    connection.execute("SELECT tasks.submit('t') FROM generate_series(1, 2000)")
    connection.execute("ANALYZE tasks.task")
    plan = connection.execute(b"EXPLAIN (COSTS OFF) " + sql.query("service_list").encode(), _page(20)).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "task_created" in text
    assert "Seq Scan" not in text
    assert "Sort" not in text


_OWN_TX: LiteralString = (
    "INSERT INTO outbox.event (tx, aggregate_type, aggregate_id, aggregate_version, event_type, payload)"
    " VALUES ('1', 'order', '42', 7, 'paid', '{}')"
)
FORBIDDEN: tuple[LiteralString, ...] = (
    "UPDATE tasks.task SET status = 'running', version = version + 1",
    "SELECT FROM tasks.task FOR UPDATE",
    "DELETE FROM tasks.task",
    "INSERT INTO tasks.request (key, digest, task_id) VALUES ('k', 'd', gen_random_uuid())",
    "SELECT FROM tasks.request",
    "UPDATE tasks.history SET by_whom = 'me'",
    "SELECT FROM outbox.event",
    _OWN_TX,
    "SELECT tasks.announce_again('1 s', 1)",
    "SELECT tasks.redrive('{}')",
    "SELECT tasks.prune_tasks('0')",
    "SELECT tasks.acquire_lock('mine', '1 s', 'me')",
    "SELECT FROM relay.checkpoint",
    "SELECT FROM inbox.message",
)
DEMO: tuple[LiteralString, ...] = (
    "SELECT tasks.demo_create(1)",
    "SELECT FROM tasks.demo_grab('me', true)",
    "SELECT tasks.demo_complete(gen_random_uuid(), 1)",
    "SELECT tasks.demo_reset()",
)


def test_the_service_may_submit_look_and_change_by_version_and_claims_nothing(site: Site) -> None:
    with psycopg.connect(site.urls["outbox_service"], autocommit=True) as service:
        task_id, *_ = once(service)
        service.execute("SELECT tasks.submit('t', '{}', 5, '{}', gen_random_uuid(), NULL)")
        service.execute("SELECT outbox.publish('order', '42', 7, 'paid', '{}')")
        assert service.execute("SELECT status FROM tasks.task WHERE id = %s", [task_id]).fetchall() == [("pending",)]
        by_whom = service.execute("SELECT by_whom FROM tasks.history_of(%s)", [task_id]).fetchall()
        assert by_whom == [("outbox_service",)]
        assert changed(service, "try_reschedule(%s, %s, 1)", task_id, LATER) == (True, "scheduled", 2)
        assert changed(service, "try_cancel(%s, 2)", task_id) == (True, "cancelled", 3)
        assert service.execute("SELECT tasks.prune_requests('1 day')").fetchall() == [(0,)]
        _refused(service, *FORBIDDEN, *DEMO)


def test_with_the_role_of_the_demo_it_may_grab_the_demos_tasks_and_no_others(site: Site) -> None:
    site.administer("GRANT outbox_demo TO outbox_service")
    with psycopg.connect(site.urls["outbox_service"], autocommit=True) as service:
        task_id, *_ = once(service)
        assert service.execute("SELECT tasks.demo_create(1)").fetchall() == [(1,)]
        assert len(service.execute("SELECT FROM tasks.demo_grab('me', true)").fetchall()) == 1
        assert service.execute("SELECT FROM tasks.demo_grab('me', true)").fetchall() == []
        assert state(service, task_id) == ("pending", 1)
        _refused(service, *FORBIDDEN)


def test_others_may_call_none_of_it(site: Site) -> None:
    keyed: tuple[LiteralString, ...] = (
        "SELECT tasks.submit_once('k', 'd', 't', '{}', 5, '{}', gen_random_uuid(), NULL)",
        "SELECT tasks.try_cancel(gen_random_uuid(), 1)",
        "SELECT tasks.try_reschedule(gen_random_uuid(), now(), 1)",
        "SELECT tasks.prune_requests('0')",
    )
    for role in ("application", "outbox_consumer", "operator", "auditor"):
        with psycopg.connect(site.urls[role], autocommit=True) as other:
            _refused(other, *keyed, *DEMO)


def _refused(connection: Connection, *statements: LiteralString) -> None:
    for statement in statements:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
