"""`relay setup` and `relay slot create`, held up by others: they say by whom, go on by themselves, and end in time."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from sandbox import Isolated
from sandbox.lifetime import private
from sandbox.machine.waiting import until
from sandbox.servers.backend import Extra
from tests.integration.relay.stage import one, staged
from tests.support.commands import Command
from tests.support.stage import Stage
from tests.support.urls import login

UNFINISHED = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND confirmed_flush_lsn IS NULL"
SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s"
CHECKPOINTS = "SELECT count(*) FROM relay.checkpoint"

Connection = psycopg.Connection[Any]


@pytest.fixture
def stage(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    """Yield a stage without a slot."""
    with staged(isolated, tmp_path) as stage:
        yield stage


@pytest.fixture
def obstacle(isolated: Isolated) -> Iterator[Connection]:
    """Yield a session of another database, with a transaction that is idle and has an id."""
    with closing(_open(_elsewhere(isolated.database_url))) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        yield connection


def _elsewhere(url: str) -> str:
    return url.rpartition("/")[0] + "/postgres"


def _open(url: str) -> Connection:
    return psycopg.connect(url, application_name="nightly report")


def says(command: Command, words: str) -> str:
    """Wait until the command has printed a line with `words` as an error or progress, and return that line."""

    def found() -> str:
        lines = [line for line in command.stderr.splitlines() if words in line]
        assert lines or command.running or words in command.stderr, command.tail()
        return lines[0] if lines else ""

    return until(found, what=f"{command.name} says {words!r}", seconds=30)


def unfinished(stage: Stage) -> None:
    """Wait until somebody is making the slot."""
    url, name = stage.isolated.database_url, stage.isolated.name
    until(lambda: one(url, UNFINISHED, name), what="the slot is half made", seconds=30)


def gone(stage: Stage) -> None:
    """Wait until the half-made slot is removed."""
    url, name = stage.isolated.database_url, stage.isolated.name
    until(lambda: not one(url, SLOTS, name), what="the half-made slot is removed", seconds=30)


def slots(stage: Stage) -> int:
    return int(one(stage.isolated.database_url, SLOTS, stage.isolated.name))


@pytest.mark.parametrize("arguments", [("setup",), ("slot", "create")])
def test_it_names_an_idle_transaction_of_another_database_and_goes_on_when_that_ends(
    arguments: tuple[str, ...], stage: Stage, obstacle: Connection
) -> None:
    command = stage.start("relay", *arguments)
    line = says(command, "waits for")
    pid = obstacle.info.backend_pid
    assert (
        f"pid {pid} (user postgres, database postgres, application 'nightly report', idle in transaction since" in line
    )
    obstacle.rollback()
    assert command.ended() == 0, command.tail()
    assert one(stage.isolated.database_url, CHECKPOINTS) == 1
    assert command.stderr.count("waits for") == 1
    assert "waits for" not in command.stdout


def test_at_its_limit_it_ends_with_a_remedy_that_works_and_leaves_no_slot(stage: Stage, obstacle: Connection) -> None:
    command = stage.run("relay", "setup", "--timeout", "1")
    assert command.process.returncode == 1
    statement = f"SELECT pg_terminate_backend({obstacle.info.backend_pid})"
    (line,) = (line for line in command.stderr.splitlines() if "has waited for 1 s" in line)
    assert statement in line
    assert slots(stage) == 0
    begun = "SELECT snapshot::text FROM relay.checkpoint WHERE mode = 'polling'"
    before = one(stage.isolated.database_url, begun)  # what is written from now on is polled

    with psycopg.connect(stage.isolated.database_url) as connection:
        connection.execute(statement.encode())
    assert stage.run("relay", "setup", "--timeout", "30").process.returncode == 0
    assert one(stage.isolated.database_url, begun) == before


def test_a_prepared_transaction_is_named_with_the_statement_that_ends_it(stage: Stage) -> None:
    with private.postgres(Extra("max_prepared_transactions = 2\n")) as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("SELECT pg_current_xact_id()")
            connection.execute("PREPARE TRANSACTION 'it''s booked'")
        command = stage.start("relay", "setup", "--timeout", "6", RELAY_DATABASE_URL=server.url)
        line = says(command, "setup waits for")
        assert 'prepared transaction "it\'s booked" (user postgres, database postgres, prepared since' in line
        assert command.ended() == 1
        remedy = "ROLLBACK PREPARED 'it''s booked'"
        assert f"in database postgres: {remedy}" in command.stderr
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(remedy)
        assert stage.run("relay", "setup", RELAY_DATABASE_URL=server.url).process.returncode == 0


def test_a_lock_that_holds_up_the_schema_is_named_too(stage: Stage) -> None:
    with closing(_open(stage.isolated.database_url)) as connection:
        connection.execute("DROP SCHEMA relay CASCADE")
        connection.execute("LOCK TABLE outbox.event_default")
        command = stage.start("relay", "setup", "--timeout", "20")
        assert f"pid {connection.info.backend_pid} " in says(command, "waits for")
        connection.rollback()
        assert command.ended() == 0, command.tail()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGTERM, -15)])
def test_an_interrupted_setup_leaves_no_half_made_slot_and_can_be_repeated(
    number: int, code: int, stage: Stage, obstacle: Connection
) -> None:
    command = stage.start("relay", "setup")
    unfinished(stage)
    command.process.send_signal(number)
    assert command.ended() == code
    assert "Traceback" not in command.stderr
    gone(stage)
    obstacle.rollback()
    assert stage.run("relay", "setup").process.returncode == 0
    assert one(stage.isolated.database_url, CHECKPOINTS) == 1


def test_a_second_setup_waits_for_the_first_and_names_what_holds_up_both(stage: Stage, obstacle: Connection) -> None:
    first = stage.start("relay", "setup")
    unfinished(stage)
    second = stage.start("relay", "setup", "--timeout", "6")
    line = says(second, "setup waits for")
    assert f"pid {obstacle.info.backend_pid} " in line
    assert "application 'relay setup'" in line
    assert second.ended() == 1
    assert second.stderr.count("pg_terminate_backend") == 1, "only the root needs to be ended"

    third = stage.start("relay", "setup")
    says(third, "setup waits for")
    obstacle.rollback()
    assert [first.ended(), third.ended()] == [0, 0]
    assert "created" in first.stdout
    assert "exists" in third.stdout
    assert one(stage.isolated.database_url, CHECKPOINTS) == 1


@pytest.mark.parametrize("fails", [False, True], ids=["it is made", "its maker gives up"])
def test_a_slot_that_somebody_else_is_making_is_waited_for(
    fails: bool,  # noqa: FBT001 - a parameter
    stage: Stage,
    obstacle: Connection,
) -> None:
    url, name = stage.isolated.database_url, stage.isolated.name
    with closing(psycopg.connect(url, autocommit=True, application_name="by hand")) as other:
        create: LiteralString = "SELECT pg_create_logical_replication_slot($1, 'wal2json')"
        other.pgconn.send_query_params(create.encode(), [name.encode()])
        unfinished(stage)
        command = stage.start("relay", "setup")
        assert f"pid {other.info.backend_pid} " in says(command, "setup waits for")
        if fails:
            other.cancel_safe()
            gone_or_ours = "SELECT pid FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
            until(lambda: _none(url, gone_or_ours, other.info.backend_pid), what="the maker gave up", seconds=60)
        obstacle.rollback()
        assert command.ended() == 0, command.tail()
    assert f"slot: '{name}' (wal2json) {'created' if fails else 'exists'}" in command.stdout


def _none(url: str, statement: LiteralString, *parameters: object) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute(statement, parameters).fetchone() is None


@pytest.fixture
def owner(isolated: Isolated) -> Iterator[str]:
    """Yield a role that may do what setup needs, and nothing else, on a database in which nothing is set up."""
    name = f"{isolated.name}_owner"
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA relay, outbox, tasks, inbox, outbox_setup CASCADE")
        connection.execute(f"CREATE ROLE {name} LOGIN REPLICATION PASSWORD 'secret'".encode())
        connection.execute(f'GRANT CREATE ON DATABASE "{connection.info.dbname}" TO {name}'.encode())
        yield name
        connection.execute(f"DROP OWNED BY {name} CASCADE".encode())
        connection.execute(f"DROP ROLE {name}".encode())


def test_a_role_without_rights_sees_who_it_is_but_not_since_when(
    stage: Stage, obstacle: Connection, owner: str
) -> None:
    command = stage.start("relay", "setup", RELAY_DATABASE_URL=login(stage.isolated.database_url, owner, "secret"))
    line = says(command, "waits for")
    seen = "user postgres, database postgres, application 'nightly report', state hidden from this role"
    assert f"pid {obstacle.info.backend_pid} ({seen})" in line
    obstacle.rollback()
    assert command.ended() == 0, command.tail()


def test_a_role_with_one_session_cannot_see_whom_it_waits_for_and_still_ends_in_time(
    stage: Stage, obstacle: Connection, owner: str
) -> None:
    with psycopg.connect(stage.isolated.database_url, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {owner} CONNECTION LIMIT 1".encode())
    url = login(stage.isolated.database_url, owner, "secret")
    command = stage.run("relay", "setup", "--timeout", "10", RELAY_DATABASE_URL=url)
    assert command.process.returncode == 1
    assert "cannot see what setup waits for" in command.stderr.splitlines()[0]
    assert "setup has taken 10 s" in command.stderr.splitlines()[-1]
    assert slots(stage) == 0
    assert obstacle.info.backend_pid


def test_setup_whose_reader_leaves_does_all_of_it(stage: Stage) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = stage.start_into(writer, "relay", "setup")
    os.close(writer)
    assert command.ended() == 0, command.tail()
    assert command.stderr == ""
    assert slots(stage) == 1
    checks = json.loads(stage.run("relay", "check", "--json").stdout)["checks"]
    assert [each["status"] for each in checks if each["id"] == "broker.exchange"] == ["OK"]
