"""`consumers locks` as a process: what it shows, and what it releases."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from sandbox import Isolated
from tests.support.commands import Command

Run = Callable[..., Command]


@pytest.fixture
def run(isolated: Isolated, tmp_path: Path) -> Run:
    def run(*arguments: str, **settings: str) -> Command:
        urls = {"CONSUMERS_DATABASE_URL": isolated.database_url, "CONSUMERS_AMQP_URL": isolated.amqp_url}
        command = Command(uuid4().hex, ["consumers", "locks", *arguments], {**urls, **settings}, tmp_path)
        command.ended()
        return command

    return run


def _acquire(connection: psycopg.Connection[Any], name: str, holder: str) -> int:
    (epoch,) = connection.execute("SELECT epoch FROM tasks.acquire_lock(%s, '1 h', %s)", [name, holder]).fetchone() or (
        0,
    )
    return int(epoch)


def test_held_locks_are_listed_with_who_has_them_until_when_and_their_epoch(isolated: Isolated, run: Run) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        assert run().stdout == "no lock is held\n"
        assert json.loads(run("--json").stdout) == []
        report, done = _acquire(connection, "report", "node-1"), _acquire(connection, "done", "node-2\x1b[31m")
        connection.execute("SELECT tasks.release_lock('done', %s, '50 min')", [done])
        _acquire(connection, "over", "node-3")
        connection.execute("UPDATE tasks.lock SET locked_until = started_at WHERE name = 'over'")
        found = json.loads(run("--json").stdout)
        assert [(each["name"], each["locked_by"], each["epoch"]) for each in found] == [
            ("report", "node-1", report),
            ("done", "node-2\x1b[31m", done),
        ]
        assert [each["ended_at"] is None for each in found] == [True, False]
        table = run().stdout
    assert "node-1" in table
    assert "not again before the lock ends" in table
    assert "\x1b" not in table


def test_a_lock_is_released_by_hand_and_it_is_said_from_whom(isolated: Isolated, run: Run) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        epoch = _acquire(connection, "report", "node-1")
        asked = run("release", "report")
        assert asked.process.returncode == 1, "nobody answers"
        assert "lock 'report' is held by node-1 since" in asked.stdout
        assert "Release it?" in asked.stdout
        released = run("release", "report", "--yes")
        assert released.process.returncode == 0
        assert released.stdout.startswith("released: lock 'report' was held by node-1 since ")
        assert released.stdout.endswith(f", epoch {epoch}\n")
        assert connection.execute("SELECT FROM tasks.lock").fetchall() == []
    again = run("release", "report", "--yes")
    assert again.process.returncode == 1
    assert again.stderr == "consumers: lock 'report' is not held - `consumers locks` lists those that are\n"


def test_what_is_missing_is_one_line_with_its_remedy(isolated: Isolated, run: Run) -> None:
    refused = run(CONSUMERS_DATABASE_URL="postgresql://u:planted@127.0.0.1:1/d")
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP TABLE tasks.lock")
    missing = run()
    for command, words in ((refused, "Postgres is not reachable"), (missing, "or `relay setup` if it is the outbox's")):
        assert command.process.returncode == 1
        assert words in command.stderr
        assert command.stderr.count("\n") == 1
        assert "planted" not in command.stderr
