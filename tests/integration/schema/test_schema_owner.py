"""Roles that run setup: what the first one needs, and what a later one is told."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psycopg
import pytest

from outboxkit import sql
from outboxkit.sql.apply import apply
from outboxkit.sql.owners import MayNotCreate, NotOwner
from sandbox import Isolated
from tests.support.urls import login

Connection = psycopg.Connection[Any]
OWNERS = """
SELECT DISTINCT rolname FROM pg_roles JOIN (
    SELECT nspowner AS owner FROM pg_namespace
    WHERE nspname IN ('outbox', 'tasks', 'relay', 'inbox', 'outbox_setup', 'more')
    UNION ALL SELECT relowner FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE nspname IN ('outbox', 'tasks', 'relay', 'inbox', 'outbox_setup', 'more')
) AS owned ON owned.owner = pg_roles.oid
"""
# As versions before this one made it.
OLD_RECORD = """
CREATE TABLE public.outbox_relay_schema (
    name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp());
INSERT INTO public.outbox_relay_schema SELECT * FROM outbox_setup.applied;
DROP SCHEMA outbox_setup CASCADE;
"""


@pytest.fixture
def admin(isolated: Isolated) -> Iterator[Connection]:
    """Yield a superuser's session with a database in which nothing is set up."""
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay, inbox, outbox_setup CASCADE")
        yield connection


@pytest.fixture
def first(isolated: Isolated, admin: Connection) -> Iterator[str]:
    """Yield a role that may create schemas in the database, and nothing else."""
    yield from _role(isolated, admin, "first")


@pytest.fixture
def second(isolated: Isolated, admin: Connection) -> Iterator[str]:
    """Yield another role that may create schemas in the database."""
    yield from _role(isolated, admin, "second")


def _role(isolated: Isolated, admin: Connection, name: str) -> Iterator[str]:
    role = f"{isolated.name}_{name}"
    admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'".encode())
    admin.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    admin.execute(f'GRANT CREATE ON DATABASE "{admin.info.dbname}" TO {role}'.encode())
    yield role
    admin.execute(f"DROP OWNED BY {role} CASCADE".encode())
    admin.execute(f"DROP ROLE {role}".encode())


def as_role(isolated: Isolated, role: str) -> Connection:
    return psycopg.connect(login(isolated.database_url, role, "secret"), autocommit=True)


def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this a version with one schema file more."""
    files = [*sql.schema(), sql.SchemaFile("999_more.sql", "CREATE TABLE relay.more ()", "x")]
    monkeypatch.setattr(sql, "schema", lambda: files)


def test_a_role_that_may_create_schemas_only_can_set_up(isolated: Isolated, first: str, admin: Connection) -> None:
    with as_role(isolated, first) as connection:
        assert apply(connection).files
        assert apply(connection) == ([], [])
    assert admin.execute(OWNERS.encode()).fetchall() == [(first,)]


@pytest.mark.parametrize("who", ["superuser", "member"])
def test_what_an_upgrade_makes_belongs_to_the_owner_too(  # noqa: PLR0913, PLR0917 - fixtures
    who: str, isolated: Isolated, first: str, second: str, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with as_role(isolated, first) as connection:
        apply(connection)
    newer(monkeypatch)
    if who == "superuser":
        assert apply(admin).files
        assert admin.execute("SELECT current_user = session_user").fetchone() == (True,)
    else:
        admin.execute(f"GRANT {first} TO {second}".encode())
        with as_role(isolated, second) as connection:
            assert apply(connection).files
    assert admin.execute(OWNERS.encode()).fetchall() == [(first,)]


def test_an_upgrade_by_another_role_names_the_owner_and_a_remedy_that_works(
    isolated: Isolated, first: str, second: str, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with as_role(isolated, first) as connection:
        apply(connection)
    newer(monkeypatch)
    with as_role(isolated, second) as connection:
        with pytest.raises(NotOwner, match=f"schema inbox belongs to role {first}, and {second} may not") as refused:
            apply(connection)
        statement = f'GRANT "{first}" TO "{second}"'
        assert statement in refused.value.remedy
        admin.execute(statement.encode())
        assert apply(connection).files


def test_a_role_that_may_not_create_schemas_is_told_the_grant(
    isolated: Isolated, first: str, admin: Connection
) -> None:
    database = admin.info.dbname
    admin.execute(f'REVOKE CREATE ON DATABASE "{database}" FROM {first}'.encode())
    with as_role(isolated, first) as connection:
        with pytest.raises(MayNotCreate, match=f"role {first} may not make the schema") as refused:
            apply(connection)
        statement = f'GRANT CREATE ON DATABASE "{database}" TO "{first}"'
        assert statement in refused.value.remedy
        admin.execute(statement.encode())
        assert apply(connection).files


def test_the_record_of_an_older_version_is_moved_once(isolated: Isolated, admin: Connection) -> None:
    apply(admin)
    before = admin.execute("SELECT * FROM outbox_setup.applied ORDER BY name").fetchall()
    admin.execute(OLD_RECORD.encode())
    start = Barrier(2)

    def run() -> tuple[list[Any], list[str]]:
        with psycopg.connect(isolated.database_url, autocommit=True) as connection:
            start.wait(timeout=10)
            return apply(connection)

    with ThreadPoolExecutor() as threads:
        assert [run.result(timeout=20) for run in [threads.submit(run), threads.submit(run)]] == [([], [])] * 2
    assert admin.execute("SELECT * FROM outbox_setup.applied ORDER BY name").fetchall() == before
    assert admin.execute("SELECT to_regclass('public.outbox_relay_schema')").fetchone() == (None,)


def test_the_record_of_an_older_version_belongs_to_its_owner(
    isolated: Isolated, second: str, admin: Connection
) -> None:
    apply(admin)
    admin.execute(OLD_RECORD.encode())
    with as_role(isolated, second) as connection, pytest.raises(NotOwner, match="belongs to role postgres"):
        apply(connection)


def test_every_role_may_read_the_record(isolated: Isolated, first: str, second: str) -> None:
    with as_role(isolated, first) as connection:
        apply(connection)
    with as_role(isolated, second) as connection:
        assert connection.execute("SELECT count(*) > 5 FROM outbox_setup.applied").fetchone() == (True,)
