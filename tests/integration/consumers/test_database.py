"""The consumers' connection: it is opened anew when it is lost or cannot write, and each refusal has its own remedy."""

import asyncio
from collections.abc import MutableMapping
from typing import Any, LiteralString, TypeAlias
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from structlog.testing import capture_logs

from consumers.errors import DatabaseUnavailable
from consumers.postgres.connecting import address
from consumers.postgres.database import Database
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.support.roles import alter, role
from tests.support.urls import login

Lines: TypeAlias = list[MutableMapping[str, Any]]
_WRITES: LiteralString = "SELECT tasks.submit('t')"


def _start(url: str) -> str:
    """Return what a consumer says that cannot start at `url`."""

    async def run() -> str:
        with pytest.raises(DatabaseUnavailable) as raised:
            async with Database(lambda: url, name="refused"):
                pass
        return str(raised.value)

    return asyncio.run(run())


def test_each_reason_for_which_there_is_no_session_has_its_own_remedy(isolated: Isolated) -> None:
    url = isolated.database_url
    place = url.rpartition("/")[0]
    with role(url, "LOGIN", "secret", granted=False) as allowed:
        said = {
            "the database does not exist": _start(f"{place}/nowhere_{uuid4().hex}"),
            "Postgres refuses the login": _start(login(url, "nobody_at_all", "wrong")),
            "Postgres is not reachable": _start("postgresql://u:p@127.0.0.1:1/d"),
        }
        database = url.rpartition("/")[2].partition("?")[0]
        _run(url, SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(Identifier(database)))
        said["the role may not connect"] = _start(allowed)
        _run(url, SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(Identifier(database)))
        said["the role lacks a right"] = _start(allowed)
    for what, text in said.items():
        assert what in text
    assert "GRANT CONNECT ON DATABASE" in said["the role may not connect"]
    assert "`relay setup`" in said["the database does not exist"]
    assert "CONSUMERS_DATABASE_URL_FILE" in said["Postgres refuses the login"]
    assert "host and port" in said["Postgres is not reachable"]
    assert len({text.partition(" - ")[2] for text in said.values()}) == len(said)


def test_a_server_that_takes_no_writes_is_refused_at_the_start(isolated: Isolated) -> None:
    _read_only(isolated.database_url, on=True)
    assert "Postgres takes no writes" in _start(isolated.database_url)


def test_a_session_that_cannot_write_is_given_up_and_the_next_one_writes(isolated: Isolated) -> None:
    url = isolated.database_url

    async def run() -> Lines:
        with capture_logs() as lines:
            async with Database(lambda: url, name="given up") as database:
                assert database.up
                await asyncio.to_thread(_read_only, url, on=True)
                await asyncio.to_thread(_end, url, "given up")
                writing = asyncio.create_task(database.fetch(_WRITES))
                await asyncio.to_thread(_says, lines, "takes no writes")
                assert not database.up
                await asyncio.to_thread(_read_only, url, on=False)
                async with asyncio.timeout(20):
                    assert len(await writing) == 1
                assert database.up
        return lines

    lines = asyncio.run(run())
    assert [line["event"] for line in lines][-1] == "database available again"
    assert any("RESET default_transaction_read_only" in str(line.get("remedy")) for line in lines)


def test_a_session_that_becomes_read_only_under_a_statement_is_opened_anew(isolated: Isolated) -> None:
    """The role's own setting changes nothing for a session that is there; a statement of it shows what it meets."""
    url = isolated.database_url

    async def run() -> None:
        async with Database(lambda: url, name="turned") as database:
            await database.fetch("SELECT set_config('default_transaction_read_only', 'on', false)")
            async with asyncio.timeout(20):
                assert len(await database.fetch(_WRITES)) == 1

    asyncio.run(run())


def test_a_changed_password_has_its_remedy_in_the_log_and_is_read_again(isolated: Isolated) -> None:
    url = isolated.database_url

    async def run(allowed: str) -> Lines:
        current = [allowed]
        with capture_logs() as lines:
            async with Database(lambda: current[0], name="changed") as database:
                current[0] = allowed.replace("secret", "wrong")
                await asyncio.to_thread(_end, url, "changed")
                asking = asyncio.create_task(database.fetch("SELECT 1"))
                await asyncio.to_thread(_says, lines, "refuses the login")
                current[0] = allowed
                async with asyncio.timeout(20):
                    assert await asking == [(1,)]
        return lines

    with role(url, "LOGIN", "secret", granted=False) as allowed:
        alter(url, "GRANT USAGE ON SCHEMA tasks, outbox, outbox_setup TO {}", _name(url))
        alter(url, "GRANT SELECT ON ALL TABLES IN SCHEMA tasks, outbox_setup TO {}", _name(url))
        lines = asyncio.run(run(allowed))
    assert any("correct user and password" in str(line.get("remedy")) for line in lines)
    assert "secret" not in str(lines)
    assert "wrong" not in str(lines)


def test_of_several_hosts_the_first_that_takes_writes_is_used_unless_the_url_says_else() -> None:
    several = "postgresql://u@a:1,b:2/d"
    assert "target_session_attrs=read-write" in address(several, name="n")
    assert "target_session_attrs=any" in address(f"{several}?target_session_attrs=any", name="n")
    assert "target_session_attrs" not in address("postgresql://u@a:1/d", name="n")


def _says(lines: Lines, reason: str) -> None:
    until(lambda: any(reason in str(line.get("reason")) for line in lines), what=reason, seconds=20)


def _name(url: str) -> str:
    return f"{url.rpartition('/')[2].partition('?')[0]}_role"


def _run(url: str, statement: Any) -> None:  # noqa: ANN401 - psycopg's composed SQL
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(statement)


def _read_only(url: str, *, on: bool) -> None:
    database = Identifier(url.rpartition("/")[2].partition("?")[0])
    change = "SET default_transaction_read_only = on" if on else "RESET default_transaction_read_only"
    _run(url, SQL("ALTER DATABASE {} " + change).format(database))


def _end(url: str, name: str) -> None:
    _run(url, SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = {}").format(name))
