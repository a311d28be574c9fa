"""The statements on tasks on a real Postgres: who gets a claim, what others get, and what a late finisher can do."""

import asyncio
import re
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest

from consumers.claims.locked_rows import how_to_find
from consumers.claims.verdicts import Claimed, RowLocked, Skipped, Unseen, Verdict, judge
from consumers.errors import DatabaseFailed, DatabaseUnavailable, SchemaMissing
from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Completed, Failed, Unfinished, Unwritten
from consumers.postgres.database import Database
from outboxkit import sql
from outboxkit.amqp.format import TaskReference
from sandbox import Isolated
from tests.integration.consumers.two_workers import Bench, claim, claimed, play


def test_a_pending_task_is_claimed_with_a_lease_and_one_attempt_more(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        reference = await bench.submit()
        task = await claimed(bench.one, reference)
        assert task == Task(TaskReference(reference.task_id, 2), "t", {"n": 1}, 1, 5, "one")
        seconds, attempts, claimer = await bench.ask(
            "SELECT extract(epoch FROM lease_until - clock_timestamp())::float, attempts, claimed_by"
            " FROM tasks.task WHERE id = %s",
            task.id,
        )
        assert 25 < seconds <= 30
        assert (attempts, claimer) == (1, "one")

    play(isolated, scenario)


def test_of_two_workers_that_claim_the_same_batch_at_once_each_task_goes_to_exactly_one(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        references = [await bench.submit() for _ in range(200)]
        for start in range(0, 200, 20):
            batch = references[start : start + 20]
            of_one, of_two = await asyncio.gather(claim(bench.one, *batch), claim(bench.two, *reversed(batch)))
            for mine, other in zip(of_one, reversed(of_two), strict=True):
                assert [type(mine), type(other)].count(Claimed) <= 1
                assert any(each in (Skipped("duplicate", "t"), RowLocked()) for each in (mine, other))
            again = await claim(bench.two, *batch, known=[TaskReference(each.task_id, 2) for each in batch])
            assert again == [Skipped("duplicate", "t")] * 20

    play(isolated, scenario)


CHANGES: dict[LiteralString, tuple[str, int]] = {
    "SELECT FROM tasks.task WHERE id = %s FOR UPDATE": ("running", 2),
    "SELECT tasks.cancel(%s)": ("cancelled", 2),
    "SELECT tasks.reschedule(%s, now() + interval '1 h')": ("scheduled", 2),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("ends", ["COMMIT", "ROLLBACK"])
def test_a_claim_does_not_wait_for_a_row_that_an_open_transaction_holds(
    isolated: Isolated, change: LiteralString, ends: LiteralString
) -> None:
    async def scenario(bench: Bench) -> None:
        locked, free = await bench.submit(), await bench.submit()
        async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as other:
            await other.execute("BEGIN")
            await other.execute(change, [locked.task_id])
            first, second = await claim(bench.one, locked, free)
            assert first == RowLocked()
            assert isinstance(second, Claimed)
            await other.execute(ends)
        await claim(bench.one, locked)
        assert await bench.state(locked.task_id) == (CHANGES[change] if ends == "COMMIT" else ("running", 2))

    play(isolated, scenario)


def test_a_claim_that_finds_only_locked_rows_takes_no_transaction_id(isolated: Isolated) -> None:
    """It is tried again ten times a second, and ids are used up."""

    async def scenario(bench: Bench) -> None:
        reference = await bench.submit()
        async with (
            await psycopg.AsyncConnection.connect(bench.url) as other,
            await psycopg.AsyncConnection.connect(bench.url) as claiming,
        ):
            await other.execute("SELECT tasks.cancel(%s)", [reference.task_id])
            parameters = {"ids": [reference.task_id], "versions": [1], "asked": None, "worker": "one", "lease": 30}
            row = await (await claiming.execute(sql.query("task_claim"), parameters)).fetchone()
            assert row is not None
            assert (row[-3:]) == (None, False, True)
            assigned = await claiming.execute("SELECT pg_current_xact_id_if_assigned()")
            assert await assigned.fetchone() == (None,)

    play(isolated, scenario)


@pytest.mark.parametrize("change", CHANGES)
def test_the_remedy_finds_the_session_that_has_locked_the_row(isolated: Isolated, change: LiteralString) -> None:
    async def scenario(bench: Bench) -> None:
        reference = await bench.submit()
        async with await psycopg.AsyncConnection.connect(bench.url) as other:
            await other.execute(change, [reference.task_id])
            (statement,) = re.findall(r"SELECT .*\)", how_to_find(reference.task_id))
            assert await bench.ask(statement) == (other.info.backend_pid,)

    play(isolated, scenario)


def test_an_outcome_does_not_wait_for_a_row_that_an_open_transaction_holds(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        locked, free = await claimed(bench.one, await bench.submit()), await claimed(bench.one, await bench.submit())
        async with await psycopg.AsyncConnection.connect(bench.url) as other:
            await other.execute("SELECT tasks.cancel(%s)", [locked.id])
            outcomes: list[tuple[Task, Unwritten]] = [(locked, Completed("1")), (free, Completed("2"))]
            assert await bench.one.end(outcomes) == [RowLocked(), "completed"]
            await other.rollback()
            assert await bench.one.end([(locked, Completed("1"))]) == ["completed"]

    play(isolated, scenario)


def test_a_delivery_that_is_not_claimed_has_a_reason(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        running, done, again, cancelled = [await bench.submit() for _ in range(4)]
        await claimed(bench.one, running)
        await bench.one.end([(await claimed(bench.one, done), Completed(None))])
        await bench.one.end([(await claimed(bench.one, again), Unfinished("given back", started=False))])
        await claimed(bench.one, TaskReference(again.task_id, 3))
        await bench.cancel(cancelled.task_id)
        future = await bench.submit()
        assert await claim(
            bench.two,
            running,
            done,
            again,
            cancelled,
            TaskReference(future.task_id, 2),
            TaskReference(running.task_id, 2),
        ) == [
            Skipped("duplicate", "t"),
            Skipped("duplicate", "t"),
            Skipped("stale", "t"),
            Skipped("cancelled", "t"),
            Skipped("unknown", "t"),
            Skipped("unknown", "t"),
        ]
        assert await bench.state(future.task_id) == ("pending", 1)

    play(isolated, scenario)


def test_two_deliveries_of_one_task_in_a_batch_give_one_claim(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        reference = await bench.submit()
        await bench.one.end([(await claimed(bench.one, reference), Unfinished("given back", started=False))])
        old, new = await claim(bench.one, reference, TaskReference(reference.task_id, 3))
        assert isinstance(old, Skipped)
        assert isinstance(new, Claimed)
        assert await bench.state(reference.task_id) == ("running", 4)

    play(isolated, scenario)


def test_a_claim_whose_answer_was_lost_is_recognized_when_it_is_asked_for_again(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        reference = await bench.submit()
        task = await claimed(bench.one, reference)
        assert await claimed(bench.one, reference) == task
        known = [task.claim]
        assert await claim(bench.one, reference, known=known) == [Skipped("duplicate", "t")]
        assert await bench.state(task.id) == ("running", 2)

    play(isolated, scenario)


def test_a_missing_task_is_unknown_only_when_no_open_transaction_can_create_it(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        absent, coming = TaskReference(str(uuid4()), 1), TaskReference(str(uuid4()), 1)
        async with await psycopg.AsyncConnection.connect(bench.url) as other:
            await other.execute("SELECT tasks.submit('t', id => %s)", [coming.task_id])
            asked: dict[TaskReference, str | None] = {absent: None, coming: None}
            for _ in range(3):
                rows = await bench.one.claim(asked)
                for reference in asked:
                    verdict = judge(reference, rows[reference], worker="one", known=frozenset())
                    assert isinstance(verdict, Unseen)
                    asked[reference] = verdict.asked
            await other.commit()
        rows = await bench.one.claim(asked)
        assert isinstance(judge(coming, rows[coming], worker="one", known=frozenset()), Claimed)
        assert await _until_unknown(bench, absent, asked[absent]) == Skipped("unknown", None)

    play(isolated, scenario)


async def _until_unknown(bench: Bench, reference: TaskReference, asked: str | None) -> Verdict:
    """Ask until there is a verdict: transactions of other databases on the server count, too, and end by themselves."""
    while True:
        row = (await bench.one.claim({reference: asked}))[reference]
        verdict = judge(reference, row, worker="one", known=frozenset())
        if not isinstance(verdict, Unseen):
            return verdict


def test_outcomes_are_written_once_and_a_repeated_write_is_recognized(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        tasks = [await claimed(bench.one, await bench.submit()) for _ in range(5)]
        written: list[Unwritten] = [
            Completed('{"a": [1]}'),
            Failed("ValueError: no", 60),
            Unfinished("given back", started=False),
            Failed("ValueError: never"),
            Unfinished("no second lock", started=False, after=60),
        ]
        outcomes = list(zip(tasks, written, strict=True))
        for _ in range(2):
            assert await bench.one.end(outcomes) == ["completed", "failed", "released", "dead", "released"]
        rows = [
            await bench.ask(
                "SELECT status, version, result, last_error, attempts FROM tasks.task WHERE id = %s", task.id
            )
            for task in tasks
        ]
        assert rows == [
            ("completed", 3, {"a": [1]}, None, 1),
            ("scheduled", 4, None, "ValueError: no", 1),
            ("pending", 3, None, None, 0),
            ("dead", 4, None, "ValueError: never", 1),
            ("scheduled", 4, None, None, 0),
        ]
        assert [await bench.announced(task.id) for task in tasks] == [[1], [1], [1, 3], [1], [1]]
        for number in (1, 4):
            (wait,) = await bench.ask(
                "SELECT extract(epoch FROM run_at - updated_at)::float FROM tasks.task WHERE id = %s", tasks[number].id
            )
            assert wait == pytest.approx(60, abs=1)

    play(isolated, scenario)


def test_a_claim_given_back_counts_only_if_its_handler_had_started_and_then_at_most_as_often_as_allowed(
    isolated: Isolated,
) -> None:
    """So a handler that breaks its own connection each time does not run without end."""

    async def scenario(bench: Bench) -> None:
        (task_id,) = await bench.ask("SELECT tasks.submit('t', max_attempts => 2)")
        found = []
        for version, started in ((1, False), (3, True), (5, False), (7, True)):
            task = await claimed(bench.one, TaskReference(str(task_id), version))
            ending = await bench.one.end([(task, Unfinished("no connection", started=started))])
            found.append((*ending, *await bench.ask("SELECT status, attempts, last_error FROM tasks.task")))
        assert found == [
            ("released", "pending", 0, None),
            ("released", "pending", 1, "no connection"),
            ("released", "pending", 1, "no connection"),
            ("dead", "dead", 2, "no connection"),
        ]
        assert await bench.announced(task_id) == [1, 3, 5, 7]

    play(isolated, scenario)


def test_an_expired_lease_is_released_and_announced_again_and_its_late_finisher_changes_nothing(
    isolated: Isolated,
) -> None:
    async def scenario(bench: Bench) -> None:
        late, alive = await claimed(bench.one, await bench.submit()), await claimed(bench.one, await bench.submit())
        await bench.expire(late.id)
        released = await asyncio.gather(bench.one.release_expired(), bench.two.release_expired())
        assert sorted(released, key=len) == [[], [("one", "pending")]]
        assert await bench.state(late.id) == ("pending", 3)
        assert await bench.state(alive.id) == ("running", 2)
        assert await bench.announced(late.id) == [1, 3]
        again = await claimed(bench.two, TaskReference(late.claim.task_id, 3))
        assert again.attempt == 2
        assert await bench.one.end([(late, Completed("1")), (alive, Completed(None))]) == ["lost", "completed"]
        assert await bench.state(late.id) == ("running", 4)
        assert await bench.two.end([(again, Completed("2"))]) == ["completed"]

    play(isolated, scenario)


def test_a_task_that_a_consumer_of_an_earlier_version_left_failed_becomes_dead(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        task = await claimed(bench.one, await bench.submit())
        await bench.ask(
            "UPDATE tasks.task SET status = 'failed', version = version + 1, lease_until = NULL, claimed_by = NULL,"
            " last_error = 'planted' WHERE id = %s RETURNING id",
            task.id,
        )
        assert await bench.two.release_expired() == [("a consumer of an earlier version", "dead")]
        assert await bench.state(task.id) == ("dead", 4)
        assert await bench.two.release_expired() == []

    play(isolated, scenario)


def test_only_leases_of_claims_that_are_not_lost_are_extended(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        mine, lost = await claimed(bench.one, await bench.submit()), await claimed(bench.one, await bench.submit())
        for task in (mine, lost):
            await bench.expire(task.id)
        stale = TaskReference(lost.claim.task_id, lost.version - 1)
        assert await bench.one.extend([mine.claim, stale]) == {stale}
        assert await bench.two.release_expired() == [("one", "pending")]
        assert await bench.state(mine.id) == ("running", 2)

    play(isolated, scenario)


def test_it_is_told_whose_lease_was_not_extended_because_its_row_is_locked(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        locked, free = await claimed(bench.one, await bench.submit()), await claimed(bench.one, await bench.submit())
        async with await psycopg.AsyncConnection.connect(bench.url) as other:
            await other.execute("SELECT FROM tasks.task WHERE id = %s FOR UPDATE", [locked.id])
            assert await bench.one.extend([locked.claim, free.claim]) == {locked.claim}
        assert await bench.one.extend([locked.claim, free.claim]) == set()

    play(isolated, scenario)


def test_claims_of_overlapping_batches_never_deadlock(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        references = [await bench.submit() for _ in range(50)]

        async def run(order: list[TaskReference], worker: str) -> None:
            parameters = {
                "ids": [reference.task_id for reference in order],
                "versions": [reference.version for reference in order],
                "asked": [None for _ in order],
                "worker": worker,
                "lease": 30,
            }
            async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as connection:
                for _ in range(40):
                    await connection.execute(sql.query("task_claim"), parameters)

        await asyncio.gather(run(references, "one"), run(references[::-1], "two"))  # a deadlock would raise here

    play(isolated, scenario)


def test_a_database_connection_that_is_ended_is_opened_again(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        reference = await bench.submit()
        await bench.ask(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name IN ('one', 'two')"
        )
        assert (await claimed(bench.one, reference)).version == 2

    play(isolated, scenario)


def test_a_final_error_is_not_retried(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        reference = await bench.submit()
        with pytest.raises(DatabaseFailed, match=r"22003: .*out of range"):
            await bench.one.claim({TaskReference(reference.task_id, 2**63): None})
        async with await psycopg.AsyncConnection.connect(bench.url, autocommit=True) as own:
            await own.execute("ALTER TABLE tasks.task RENAME COLUMN claimed_by TO claimer")
        with pytest.raises(SchemaMissing, match="run `consumers setup`"):
            await claim(bench.one, reference)

    play(isolated, scenario)


def test_a_database_that_cannot_be_used_is_reported_at_start(isolated: Isolated) -> None:
    async def use(url: str) -> None:
        async with Database(lambda: url, name="t"):
            pass

    with pytest.raises(DatabaseUnavailable, match="CONSUMERS_DATABASE_URL"):
        asyncio.run(use("postgresql://127.0.0.1:1/none"))
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("DROP SCHEMA tasks CASCADE")
    with pytest.raises(SchemaMissing, match="relay setup"):
        asyncio.run(use(isolated.database_url))
