"""Applying the schema: each file once, all or nothing, also with two at the same time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, LiteralString

import psycopg
import pytest

from outboxkit import sql
from outboxkit.sql.apply import SchemaChanged, apply, pending
from sandbox import Isolated

Connection = psycopg.Connection[Any]
RECORD = "SELECT name, checksum, applied_at FROM outbox_setup.applied ORDER BY name"


@pytest.fixture
def empty(isolated: Isolated) -> str:
    """Return the URL of a database without our schema."""
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay, inbox CASCADE")
        connection.execute("DROP SCHEMA outbox_setup CASCADE")
    return isolated.database_url


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        yield connection


def file(name: str, text: LiteralString) -> sql.SchemaFile:
    return sql.SchemaFile(name, text, f"checksum of {name}")


def names(files: list[sql.SchemaFile]) -> list[str]:
    return [each.name for each in files]


def with_file(extra: sql.SchemaFile, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [*sql.schema(), extra]
    monkeypatch.setattr(sql, "schema", lambda: files)


def schemas(connection: Connection) -> set[str]:
    found = "SELECT nspname FROM pg_namespace WHERE nspname IN ('outbox', 'tasks', 'relay', 'inbox', 'more')"
    return {name for (name,) in connection.execute(found)}


@pytest.mark.parametrize("autocommit", [True, False])
def test_an_empty_database_gets_it_all_in_order_with_partitions(empty: str, autocommit: bool) -> None:  # noqa: FBT001 - a parameter
    with psycopg.connect(empty, autocommit=autocommit) as connection:
        assert names(apply(connection).files) == sorted(names(sql.schema()))
        connection.rollback()  # what is applied is committed, whatever the connection's mode
    with psycopg.connect(empty) as connection:
        assert pending(connection) == []
        assert schemas(connection) == {"outbox", "tasks", "relay", "inbox"}
        row = connection.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'outbox.event'::regclass"
        ).fetchone()
        assert row == (9,)


def test_to_repeat_it_changes_nothing(connection: Connection) -> None:
    before = connection.execute(RECORD).fetchall()
    connection.execute("SELECT tasks.submit('a')")
    assert apply(connection) == ([], [])
    assert connection.execute(RECORD).fetchall() == before
    assert connection.execute("SELECT count(*) FROM outbox.event").fetchone() == (1,)


def test_two_at_once_take_turns_and_one_of_them_does_it(empty: str) -> None:
    start = Barrier(2)

    def run() -> list[str]:
        with psycopg.connect(empty) as connection:
            start.wait(timeout=10)
            return names(apply(connection).files)

    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(run) for _ in range(2)]
        assert sorted(run.result(timeout=20) for run in runs) == [[], names(sql.schema())]


def test_a_file_that_was_changed_since_is_refused_and_nothing_is_applied(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_file(file("999_more.sql", "CREATE SCHEMA more"), monkeypatch)
    connection.execute("UPDATE outbox_setup.applied SET checksum = 'of an older text' WHERE name = '001_outbox.sql'")
    with pytest.raises(SchemaChanged, match=r"001_outbox\.sql is not the file that this database was set up with"):
        apply(connection)
    assert "more" not in schemas(connection)


def test_a_database_of_a_newer_version_is_refused(connection: Connection) -> None:
    connection.execute("INSERT INTO outbox_setup.applied VALUES ('998_newer.sql', 'x')")
    with pytest.raises(SchemaChanged, match=r"set up by a newer version \(it has 998_newer\.sql\)"):
        apply(connection)


def test_a_new_file_is_applied_alone(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    with_file(file("999_more.sql", "CREATE SCHEMA more; CREATE TABLE more.things ()"), monkeypatch)
    assert names(pending(connection)) == ["999_more.sql"]
    assert names(apply(connection).files) == ["999_more.sql"]
    assert "more" in schemas(connection)
    assert apply(connection) == ([], [])


@pytest.fixture
def older(empty: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a database that was set up before the limits for RabbitMQ's client for Go."""
    files = sql.schema()
    with psycopg.connect(empty) as connection, monkeypatch.context() as before:
        before.setattr(sql, "schema", lambda: [each for each in files if each.name < "009"])
        apply(connection)
    return empty


DEEP: LiteralString = (
    "SELECT outbox.publish('order', '42', 1, 'paid', '{}'::jsonb,"
    " headers => (repeat('{\"a\":', 40) || '1' || repeat('}', 40))::jsonb)"
)


def test_rows_that_break_a_new_limit_stay_and_no_more_come(older: str) -> None:
    with psycopg.connect(older, autocommit=True) as connection:
        connection.execute(DEEP)
        apply(connection)
        with pytest.raises(psycopg.errors.CheckViolation, match="headers must nest at most 32 objects and arrays"):
            connection.execute(DEEP)
        assert connection.execute("SELECT count(*) FROM outbox.event").fetchone() == (1,)
        made = connection.execute("SELECT outbox.create_partitions(days => 9)").fetchone()
        assert made == (2,), "a partition of the new day has the limits"


def test_an_open_transaction_of_a_writer_is_named_and_writers_go_on(older: str) -> None:
    with psycopg.connect(older) as writing, psycopg.connect(older, autocommit=True) as connection:
        writing.execute("SELECT tasks.submit('t')")
        with pytest.raises(psycopg.errors.LockNotAvailable) as caught:
            apply(connection)
        assert str(caught.value.diag.message_primary).endswith(f"is open: process {writing.info.backend_pid}")
        assert names(pending(connection)) == [each.name for each in sql.schema() if each.name >= "009"]
        writing.rollback()
        connection.execute("SET lock_timeout = '30s'")
        apply(connection)
        assert connection.execute("SHOW lock_timeout").fetchone() == ("30s",)


def test_when_one_file_fails_no_file_is_applied(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_file(file("999_more.sql", "CREATE SCHEMA more; SELECT 1 / 0"), monkeypatch)
    with psycopg.connect(empty, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            apply(connection)
        assert schemas(connection) == set()
        assert names(pending(connection)) == names(sql.schema())


def test_asking_what_is_pending_changes_nothing(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        assert names(pending(connection)) == names(sql.schema())
        assert schemas(connection) == set()
