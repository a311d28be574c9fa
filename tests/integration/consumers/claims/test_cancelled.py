"""What cancel and reschedule mean for claims: of two that come at once one is first, and the other finds that."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from consumers.claims.verdicts import Claimed, Skipped
from consumers.handlers.outcomes import ClaimLost, Completed, Failed, Unfinished, Unwritten
from outboxkit import sql
from outboxkit.amqp.format import TaskReference
from sandbox import Isolated
from tests.integration.consumers.two_workers import Bench, claim, claimed, play

ROUNDS = 250
Connection = psycopg.Connection[Any]
Found = tuple[Any, ...]


async def cancelling(bench: Bench) -> tuple[TaskReference, Any]:
    reference = await bench.submit()
    task = await claimed(bench.one, reference)
    assert await bench.ask("SELECT tasks.cancel(%s)", task.id) == ("cancelling",)
    return reference, task


@pytest.mark.parametrize(
    "outcome", [Completed('{"a": 1}'), Failed("it raised"), Unfinished("given back", started=False), ClaimLost()]
)
def test_a_handler_that_ends_after_its_task_was_asked_to_stop_cancels_it(
    isolated: Isolated, outcome: Unwritten
) -> None:
    """Also one that finished all the same: its result is dropped."""

    async def scenario(bench: Bench) -> None:
        _, task = await cancelling(bench)
        for _ in range(2):  # the second is a repetition, after a connection that broke before the answer
            assert await bench.one.end([(task, outcome)]) == ["cancelled"]
        row = await bench.ask("SELECT status, version, result, claimed_by, attempts FROM tasks.task")
        assert row == ("cancelled", 4, None, None, 1)
        assert await bench.announced(task.id) == [1]

    play(isolated, scenario)


def test_a_claim_that_is_lost_ends_nothing_that_is_not_asked_to_stop(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        task = await claimed(bench.one, await bench.submit())
        assert await bench.one.end([(task, ClaimLost())]) == ["lost"]
        assert await bench.state(task.id) == ("running", 2)
        await bench.expire(task.id)
        await bench.two.release_expired()
        again = await claimed(bench.two, TaskReference(task.claim.task_id, 3))
        await bench.ask("SELECT tasks.cancel(%s)", task.id)
        assert await bench.one.end([(task, Completed(None))]) == ["lost"]
        assert await bench.state(task.id) == ("cancelling", 5)
        assert await bench.two.end([(again, Completed(None))]) == ["cancelled"]

    play(isolated, scenario)


def test_a_task_that_is_to_stop_keeps_its_lease_while_its_handler_runs_and_is_cancelled_when_it_runs_out(
    isolated: Isolated,
) -> None:
    async def scenario(bench: Bench) -> None:
        _, task = await cancelling(bench)
        mine = task.claim
        await bench.expire(task.id)
        await bench.one.extend([mine])
        assert await bench.two.release_expired() == []
        await bench.expire(task.id)
        assert await bench.two.release_expired() == [("one", "cancelled")]
        assert await bench.state(task.id) == ("cancelled", 4)
        assert await bench.announced(task.id) == [1]
        await bench.one.extend([mine])
        assert await bench.state(task.id) == ("cancelled", 4)

    play(isolated, scenario)


def test_a_lease_that_runs_out_on_the_last_attempt_makes_the_task_dead(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        (task_id,) = await bench.ask("SELECT tasks.submit('t', max_attempts => 3)")
        for attempt in range(1, 4):
            task = await claimed(bench.one, TaskReference(str(task_id), 2 * attempt - 1))
            assert task.attempt == attempt
            await bench.expire(task_id)
            assert await bench.two.release_expired() == [("one", "dead" if attempt == 3 else "pending")]
            (error,) = await bench.ask("SELECT last_error FROM tasks.task")
            assert error == f"its lease ran out on attempt {attempt} of 3"
        assert await bench.state(task_id) == ("dead", 8)
        assert await bench.announced(task_id) == [1, 3, 5]
        assert await bench.ask("SELECT array_agg(to_status ORDER BY version) FROM tasks.history WHERE version > 5") == (
            ["running", "failed", "dead"],
        )

    play(isolated, scenario)


def test_the_message_of_a_task_that_was_postponed_is_stale(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        reference = await bench.submit()
        await bench.ask("SELECT tasks.reschedule(%s, now() + interval '1 h')", reference.task_id)
        assert await claim(bench.one, reference) == [Skipped("stale", "t")]
        await bench.ask("UPDATE tasks.task SET status = 'pending', version = 3 RETURNING id")
        (verdict,) = await claim(bench.one, reference)
        assert isinstance(verdict, Skipped)
        (verdict,) = await claim(bench.one, TaskReference(reference.task_id, 3))
        assert isinstance(verdict, Claimed)

    play(isolated, scenario)


def test_cancel_waits_for_a_claim_that_is_under_way_and_decides_anew(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        reference = await bench.submit()
        async with await psycopg.AsyncConnection.connect(bench.url) as other:
            parameters = {"ids": [reference.task_id], "versions": [1], "asked": [None], "worker": "one", "lease": 30}
            await other.execute(sql.query("task_claim"), parameters)
            stopping = asyncio.create_task(bench.ask("SELECT tasks.cancel(%s)", reference.task_id))
            await _waits(bench.url)
            await other.commit()
        assert await stopping == ("cancelling",)
        assert await bench.state(reference.task_id) == ("cancelling", 3)

    play(isolated, scenario)


async def _waits(url: str) -> None:
    """Wait until a session of this database waits for a lock."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as looking:
        waiting = 0
        while not waiting:
            cursor = await looking.execute(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            waiting = cursor.rowcount


def _unless_locked(connection: Connection, statement: LiteralString, parameters: dict[str, Any]) -> Found:
    """Run `statement`, whose last column says whether another transaction had locked the row, until none does."""
    while True:
        row = connection.execute(statement, parameters).fetchone()
        assert row is not None
        if not row[-1]:
            return tuple(row)


class Race:
    """Two sessions that act on one task at once, a few hundred times."""

    def __init__(self, own: Connection, one: Connection, two: Connection, seed: int) -> None:
        self.own, self.one, self.two = own, one, two
        self.random = random.Random(seed)  # noqa: S311 - no secret

    def run(self, before: str, left: Callable[[UUID], Found], right: Callable[[UUID], Found]) -> set[Found]:
        """Return the outcomes: what `left` and `right` found, and the task's row afterwards."""
        seen: set[Found] = set()
        with ThreadPoolExecutor(2) as threads:
            for _ in range(ROUNDS):
                task_id = self.submit(claimed=before == "running")
                start = threading.Barrier(2)
                ahead = self.random.uniform(-0.0015, 0.0015)
                first = threads.submit(_started, start, max(0.0, ahead), left, task_id)
                second = threads.submit(_started, start, max(0.0, -ahead), right, task_id)
                row = (first.result(), second.result(), *self.row(task_id))
                self.is_whole(task_id)
                seen.add(row)
        return seen

    def submit(self, *, claimed: bool) -> UUID:
        row = self.own.execute("SELECT tasks.submit('t')").fetchone()
        assert row is not None
        if claimed:
            self.claim(row[0], self.own)
        return UUID(str(row[0]))

    def row(self, task_id: UUID) -> Found:
        row = self.own.execute(
            "SELECT status, version, attempts, result, claimed_by FROM tasks.task WHERE id = %s", [task_id]
        ).fetchone()
        return tuple(row or ())

    def is_whole(self, task_id: UUID) -> None:
        """No transition is missing from the history, and none was made twice."""
        rows = self.own.execute(
            "SELECT version, from_status, to_status FROM tasks.history_of(%s)", [task_id]
        ).fetchall()
        assert [version for version, _, _ in rows] == list(range(1, len(rows) + 1))
        assert [before for _, before, _ in rows[1:]] == [after for _, _, after in rows[:-1]]

    def claim(self, task_id: UUID, connection: Connection | None = None) -> Found:
        parameters = {"ids": [task_id], "versions": [1], "asked": [None], "worker": "me", "lease": 30}
        row = _unless_locked(connection or self.two, sql.query("task_claim"), parameters)
        return ("claimed",) if row[1:3] == ("running", 2) else ("not claimed",)

    def complete(self, task_id: UUID) -> Found:
        parameters = {
            "ids": [task_id],
            "versions": [2],
            "statuses": ["completed"],
            "results": ["7"],
            "errors": [None],
            "delays": [None],
            "counted": [True],
        }
        return _unless_locked(self.two, sql.query("task_end"), parameters)[:2]

    def complete_in_transaction(self, task_id: UUID) -> Found:
        parameters = {"id": task_id, "version": 2, "result": "7"}
        return tuple(self.two.execute(sql.query("task_complete"), parameters).fetchone() or ())

    def cancel(self, task_id: UUID) -> Found:
        return tuple(self.one.execute("SELECT tasks.cancel(%s)", [task_id]).fetchone() or ())

    def reschedule(self, task_id: UUID, connection: Connection | None = None) -> Found:
        try:
            row = (connection or self.one).execute("SELECT tasks.reschedule(%s, now())", [task_id]).fetchone()
            return tuple(row or ())
        except psycopg.Error as error:
            return (error.sqlstate,)


def _started(start: threading.Barrier, after: float, act: Callable[[UUID], Found], task_id: UUID) -> Found:
    start.wait()
    time.sleep(after)  # the race: who is first differs from round to round
    return act(task_id)


@pytest.fixture
def race(isolated: Isolated, seed: int) -> Iterator[Race]:
    def connect() -> Connection:
        return psycopg.connect(isolated.database_url, autocommit=True)

    with connect() as own, connect() as one, connect() as two:
        yield Race(own, one, two, seed)


def test_of_a_cancel_and_a_claim_one_is_first_and_none_is_lost(race: Race) -> None:
    assert race.run("pending", race.cancel, race.claim) <= {
        (("cancelled",), ("not claimed",), "cancelled", 2, 0, None, None),
        (("cancelling",), ("claimed",), "cancelling", 3, 1, None, "me"),
    }


def test_of_a_cancel_and_a_completion_one_is_first_and_none_is_lost(race: Race) -> None:
    assert race.run("running", race.cancel, race.complete) <= {
        (("completed",), ("completed", 3), "completed", 3, 1, 7, None),
        (("cancelling",), ("cancelled", 4), "cancelled", 4, 1, None, None),
    }


def test_of_a_cancel_and_a_completion_in_a_transaction_one_is_first_and_none_is_lost(race: Race) -> None:
    assert race.run("running", race.cancel, race.complete_in_transaction) <= {
        (("completed",), (3,), "completed", 3, 1, 7, None),
        (("cancelling",), (), "cancelling", 3, 1, None, "me"),
    }


def test_of_a_reschedule_and_a_claim_one_is_first_and_none_is_lost(race: Race) -> None:
    assert race.run("pending", race.reschedule, race.claim) <= {
        (("scheduled",), ("not claimed",), "scheduled", 2, 0, None, None),
        (("TK006",), ("claimed",), "running", 2, 1, None, "me"),
    }


def test_of_a_cancel_and_a_reschedule_none_is_lost(race: Race) -> None:
    assert race.run("pending", race.cancel, lambda task_id: race.reschedule(task_id, race.two)) <= {
        (("cancelled",), ("scheduled",), "cancelled", 3, 0, None, None),
        (("cancelled",), ("TK006",), "cancelled", 2, 0, None, None),
    }
