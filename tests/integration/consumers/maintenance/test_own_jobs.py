"""The project's own jobs on a real Postgres: due tasks, ended tasks, expired leases."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from consumers.handlers.outcomes import Completed
from consumers.maintenance.declaring.registry import Jobs
from consumers.maintenance.jobs import due_tasks, ended_tasks, expired_leases
from consumers.postgres.database import Database
from outboxkit import sql
from sandbox import Isolated
from tests.integration.consumers.two_workers import Bench, claimed, play

SCHEDULE: LiteralString = (
    "INSERT INTO tasks.task (type, status, run_at)"
    " SELECT 't', 'scheduled', clock_timestamp() + %s::interval FROM generate_series(1, %s) RETURNING id"
)


def only(jobs: Jobs) -> Callable[[], Awaitable[object]]:
    """Return the function of the one job."""
    (job,) = jobs

    async def run() -> None:
        result = job.function()
        assert isinstance(result, Awaitable)
        await result

    return run


async def schedule(bench: Bench, when: str, count: int) -> list[UUID]:
    async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as connection:
        return [task_id for (task_id,) in await (await connection.execute(SCHEDULE, [when, count])).fetchall()]


def test_due_tasks_become_pending_with_their_events_and_later_ones_wait(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        jobs = Jobs(own=True)
        async with Database(lambda: bench.url, name="jobs") as database:
            due_tasks.register(jobs, database, batch=10)
            due, later = await schedule(bench, "-1 s", 25), await schedule(bench, "1 h", 3)
            await only(jobs)()
        assert {await bench.state(task_id) for task_id in due} == {("pending", 2)}
        assert {await bench.state(task_id) for task_id in later} == {("scheduled", 1)}
        assert [await bench.announced(task_id) for task_id in due] == [[2]] * 25
        (events,) = await bench.ask("SELECT count(*) FROM outbox.event")
        assert events == 25

    play(isolated, scenario)


def test_a_due_task_whose_event_cannot_be_written_stays_scheduled(isolated: Isolated) -> None:
    """There is no dual write: the task and its event are changed by one statement."""

    async def scenario(bench: Bench) -> None:
        (due,) = await schedule(bench, "-1 s", 1)
        async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as connection:
            await connection.execute("ALTER TABLE outbox.event ADD CONSTRAINT planted CHECK (false) NOT VALID")
            with pytest.raises(psycopg.errors.CheckViolation):
                await connection.execute(sql.query("task_due"), {"limit": 10})
        assert await bench.state(due) == ("scheduled", 1)

    play(isolated, scenario)


def test_several_that_enqueue_at_once_announce_each_task_once(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        await schedule(bench, "-1 s", 500)
        jobs = Jobs(own=True)
        async with Database(lambda: bench.url, name="a") as one, Database(lambda: bench.url, name="b") as two:
            due_tasks.register(jobs, one, batch=20)
            others = Jobs(own=True)
            due_tasks.register(others, two, batch=20)
            await asyncio.gather(only(jobs)(), only(others)())
            await only(jobs)()  # a run ends at the first batch that is not full: the other may have held the rest
        found = await bench.ask("SELECT count(*), count(DISTINCT aggregate_id) FROM outbox.event")
        assert found == (500, 500)

    play(isolated, scenario)


def test_a_due_task_that_somebody_holds_is_left_for_the_next_run(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        held, free = await schedule(bench, "-1 s", 2)
        jobs = Jobs(own=True)
        async with (
            Database(lambda: bench.url, name="jobs") as database,
            await psycopg.AsyncConnection.connect(bench.url) as other,
        ):
            due_tasks.register(jobs, database)
            await other.execute("SELECT FROM tasks.task WHERE id = %s FOR UPDATE", [held])
            await only(jobs)()
            assert [await bench.state(each) for each in (held, free)] == [("scheduled", 1), ("pending", 2)]
            await other.rollback()
            await only(jobs)()
            assert await bench.state(held) == ("pending", 2)

    play(isolated, scenario)


AGE: LiteralString = """
    BEGIN;
    ALTER TABLE tasks.task DISABLE TRIGGER USER;
    UPDATE tasks.task SET updated_at = updated_at - interval '8 days', created_at = created_at - interval '8 days';
    ALTER TABLE tasks.task ENABLE TRIGGER USER;
    COMMIT
"""


def test_ended_tasks_are_removed_past_the_retention_and_all_others_stay(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        async def complete() -> None:
            await bench.one.end([(await claimed(bench.one, await bench.submit()), Completed(None))])

        kept = [await bench.submit() for _ in range(4)]
        running, failed, dead, _pending = kept
        await claimed(bench.one, running)
        async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as connection:
            for task, statuses in ((failed, ["failed"]), (dead, ["failed", "dead"])):
                await claimed(bench.one, task)
                for status in statuses:
                    await connection.execute(
                        "UPDATE tasks.task SET status = %s, version = version + 1, lease_until = NULL,"
                        " claimed_by = NULL, last_error = 'planted' WHERE id = %s",
                        [status, task.task_id],
                    )
            for _ in range(5):
                await complete()
            cancelled = await bench.submit()
            await bench.cancel(cancelled.task_id)
            await connection.execute(AGE)
        await complete()
        jobs = Jobs(own=True)
        async with Database(lambda: bench.url, name="jobs") as database:
            ended_tasks.register(jobs, database, keep=timedelta(days=7), batch=2)
            await only(jobs)()
        (left,) = await bench.ask("SELECT array_agg(status ORDER BY status) FROM tasks.task")
        assert left == ["completed", "dead", "failed", "pending", "running"]

    play(isolated, scenario)


def test_what_is_removed_is_exactly_what_has_no_way_on(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url) as connection:
        (ends,) = connection.execute(
            "SELECT array_agg(DISTINCT to_status ORDER BY to_status) FROM tasks.transition"
            " WHERE to_status NOT IN (SELECT from_status FROM tasks.transition)"
        ).fetchone() or ([],)
    assert ends == ["cancelled", "completed"]


def test_both_jobs_find_their_tasks_by_an_index(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE tasks.task DISABLE TRIGGER USER")
        connection.execute("INSERT INTO tasks.task (type, status) SELECT 't', 'pending' FROM generate_series(1, 20000)")
        connection.execute("INSERT INTO tasks.task (type, status) SELECT 't', 'scheduled' FROM generate_series(1, 50)")
        connection.execute("INSERT INTO tasks.task (type, status) SELECT 't', 'completed' FROM generate_series(1, 50)")
        connection.execute("ALTER TABLE tasks.task ENABLE TRIGGER USER")
        connection.execute("ANALYZE tasks.task")
        ended: LiteralString = (
            "SELECT id FROM tasks.task WHERE status IN ('completed', 'cancelled')"
            " AND updated_at < (SELECT clock_timestamp() - interval '7 d') ORDER BY updated_at LIMIT 1000"
        )
        for statement, index in ((sql.query("task_due"), "task_due"), (ended, "task_ended")):
            with psycopg.ClientCursor(connection) as cursor:
                plan = cursor.execute(b"EXPLAIN " + cursor.mogrify(statement, {"limit": 1000}).encode()).fetchall()
            assert any(f"using {index} on" in line for (line,) in plan), plan


def test_a_consumer_extends_its_own_leases_before_it_judges_others(isolated: Isolated) -> None:
    """One that was suspended finds its own leases expired: it must not release its own running tasks."""

    async def scenario(bench: Bench) -> None:
        mine, dead = await claimed(bench.one, await bench.submit()), await claimed(bench.two, await bench.submit())
        for task in (mine, dead):
            await bench.expire(task.id)
        jobs = Jobs(own=True)

        async def extend_own() -> None:
            await bench.one.extend([mine.claim])

        expired_leases.register(jobs, bench.one, extend_own)
        await only(jobs)()
        assert await bench.state(mine.id) == ("running", 2)
        assert await bench.state(dead.id) == ("pending", 3)

    play(isolated, scenario)
