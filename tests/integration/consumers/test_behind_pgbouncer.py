"""Consumers and writers behind the real PgBouncer in transaction mode: nothing of a session is relied on."""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Applied
from consumers.handlers.transactions.transactions import Transactions
from consumers.postgres.connecting import address
from sandbox import Isolated
from tests.integration.consumers.stage import Stage, metric
from tests.integration.consumers.two_workers import Bench, claimed, play
from tests.support.commands import Command
from tests.support.pgbouncer import pgbouncer


@pytest.fixture
def through(isolated: Isolated) -> Iterator[str]:
    with pgbouncer(isolated.database_url) as url:
        yield url


@pytest.fixture
def stage(isolated: Isolated, through: str, tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        made = Stage(isolated, tmp_path, stack)
        made.settings["CONSUMERS_DATABASE_URL"] = through
        yield made


def test_two_consumers_complete_600_tasks_once_and_their_jobs_run(stage: Stage) -> None:
    recorded, greeted = stage.submit("record", 300), stage.submit("greet", 300)
    consumers = [stage.consume(job_at_least="0") for _ in range(2)]
    stage.relay(copies=2)
    stage.reaches(completed=600)
    assert sorted(stage.effects()) == sorted(recorded)
    assert stage.rows("SELECT count(*) FROM tasks.task WHERE version = 3 AND attempts = 1") == [(600,)]
    assert len(greeted) == 300
    due = stage.rows("SELECT tasks.submit('record', run_at => clock_timestamp() + interval '1 s')")
    stage.relay()
    assert len(due) == 1
    stage.reaches(completed=600, pending=1)  # a scheduled job has made it pending
    stage.relay()
    stage.reaches(completed=601)
    assert metric(consumers[0], "consumers_lease_lost_total") == 0
    assert [each.terminate() for each in consumers] == [0, 0]
    for consumer in consumers:
        assert "database not available" not in consumer.stderr


def test_what_a_handler_leaves_in_a_session_reaches_nobody_and_its_commit_is_refused(
    isolated: Isolated, through: str
) -> None:
    def leave(connection: psycopg.Connection[Any]) -> None:
        connection.execute("SET app.tenant = 'A'; CREATE TEMP TABLE left_behind (i int); SET statement_timeout = '9s'")

    def commit(connection: psycopg.Connection[Any]) -> None:
        connection.execute("COMMIT")

    async def scenario(bench: Bench) -> None:
        with Transactions(lambda: address(through, name="handlers"), size=2, timeout=10) as transactions:
            for _ in range(8):  # more than PgBouncer has sessions
                task = await claimed(bench.one, await bench.submit())
                assert await asyncio.to_thread(transactions.run, task, leave) == Applied()
                await asyncio.to_thread(_commits, transactions, await claimed(bench.one, await bench.submit()), commit)
        with psycopg.connect(through, autocommit=True, prepare_threshold=None) as other:
            for _ in range(8):
                row = other.execute(
                    "SELECT coalesce(current_setting('app.tenant', true), ''), current_setting('statement_timeout'),"
                    " to_regclass('pg_temp.left_behind'), (SELECT count(*) FROM pg_cursors)"
                ).fetchone()
                assert row is not None
                assert row[:3] == ("", "0", None)

    play(isolated, scenario)


def _commits(transactions: Transactions, task: Task, call: Any) -> None:  # noqa: ANN401 - a handler
    with contextlib.suppress(psycopg.Error):
        transactions.run(task, call)
        pytest.fail("its COMMIT was not refused")


def test_writers_submit_through_it(isolated: Isolated, through: str, tmp_path: Path) -> None:
    command = Command(
        "writers",
        ["writers", "submit", "--type", "t", "--count", "200", "--rate", "1000"],
        {"WRITERS_DATABASE_URL": through},
        tmp_path,
    )
    try:
        assert command.ended() == 0
    finally:
        command.end()
    with psycopg.connect(isolated.database_url) as own:
        assert own.execute("SELECT count(*) FROM tasks.task").fetchone() == (200,)
