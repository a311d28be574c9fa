"""How a worker ends: by a failure of the database, by a bug, and with handlers or outcomes that are left."""

import asyncio
import random
import threading
from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from consumers.claims.verdicts import Row, RowLocked
from consumers.errors import DatabaseFailed, HandlersAbandoned
from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Completed, Ending, Outcome, Unfinished, Unwritten
from consumers.timings import Timings
from outboxkit.amqp.consuming.deliveries import Delivery
from outboxkit.amqp.format import TaskReference
from tests.unit.consumers.executors import executor_of
from tests.unit.consumers.working import QUICK, Deliveries, Table, delivery, reached, worker_of


class Broken(Table):
    """A table to which no outcome can be written."""

    async def end(self, outcomes: Sequence[tuple[Task, Unwritten]]) -> list[Ending | RowLocked]:
        del outcomes
        raise DatabaseFailed("planted", remedy="none")


def ended_by(table: Table, intake: Deliveries, execute: Callable[[Task], Outcome]) -> BaseException:
    """Run a worker that nothing stops, and return what ends it."""

    async def run() -> None:
        executor = executor_of(execute, concurrency=1)
        async with asyncio.timeout(20):
            worker = worker_of(intake, table, executor)
            await worker.run(asyncio.Event())

    with pytest.raises(Exception) as raised:  # noqa: PT011 - the tests look at it
        asyncio.run(run())
    return raised.value


def test_a_final_failure_of_the_database_ends_the_worker_and_names_the_tasks_that_run_again() -> None:
    tasks = [uuid4()]
    intake = Deliveries([delivery(1, tasks[0])])
    error = ended_by(Broken(tasks, random.Random(1)), intake, lambda _: Completed(None))  # noqa: S311 - no secret
    assert isinstance(error, HandlersAbandoned)
    assert str(error) == "planted - none; the 1 claimed tasks run again when their leases expire"
    assert intake.acked == []


def test_a_final_failure_without_claimed_tasks_ends_the_worker_with_its_own_reason() -> None:
    class Lost(Table):
        async def claim(self, asked: dict[TaskReference, str | None]) -> dict[TaskReference, Row]:
            del asked
            raise DatabaseFailed("planted", remedy="none")

    tasks = [uuid4()]
    table = Lost(tasks, random.Random(1))  # noqa: S311 - no secret
    error = ended_by(table, Deliveries([delivery(1, tasks[0])]), lambda _: Completed(None))
    assert isinstance(error, DatabaseFailed)


def test_a_loop_that_ends_by_itself_is_a_bug_and_not_silent() -> None:
    class Ended(Deliveries):
        async def receive(self, limit: int) -> list[Delivery]:
            del limit
            return []

    table = Table([], random.Random(1))  # noqa: S311 - no secret
    error = ended_by(table, Ended([]), lambda _: Completed(None))
    assert isinstance(error, ExceptionGroup)
    assert "a loop of the worker ended by itself: claiming" in str(error.exceptions[0])


def test_what_is_not_done_in_time_is_given_back_and_what_has_ended_or_not_begun_is_written_as_it_is() -> None:
    tasks = [uuid4() for _ in range(4)]

    async def run() -> None:
        started, opened = threading.Event(), threading.Event()
        table = Table(tasks, random.Random(1))  # noqa: S311 - no secret

        def execute(task: Task) -> Outcome:
            if task.id != tasks[0]:
                started.set()
                opened.wait(20)
            return Completed("1")

        intake = Deliveries([delivery(tag, task) for tag, task in enumerate(tasks, start=1)])
        stop, executor = asyncio.Event(), executor_of(execute, concurrency=1)
        async with asyncio.timeout(20):
            working = asyncio.create_task(worker_of(intake, table, executor, grace=0).run(stop))
            await asyncio.to_thread(started.wait, 20)
            stop.set()
            await working
        opened.set()
        assert table.written == {
            tasks[0]: Completed("1"),
            tasks[1]: Unfinished("it still runs", started=True),
            tasks[2]: Unfinished("it has not begun", started=False),
            tasks[3]: Unfinished("it has not begun", started=False),
        }
        assert sorted(intake.acked) == [1, 2, 3, 4]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("ended", "what"),
    [
        (True, "have ended, and their outcomes could not be written"),
        (False, "could not be ended or given back"),
    ],
)
def test_outcomes_that_could_not_be_written_because_their_rows_are_locked_are_no_slow_handlers(
    what: str, *, ended: bool
) -> None:
    tasks = [uuid4(), uuid4()]

    async def run() -> None:
        opened = threading.Event()
        table = Table(tasks, random.Random(1))  # noqa: S311 - no secret

        def execute(task: Task) -> Outcome:
            table.taken.add(task.id)
            if not ended:
                opened.wait(20)
            return Completed(None)

        intake = Deliveries([delivery(tag, task) for tag, task in enumerate(tasks, start=1)])
        stop, executor = asyncio.Event(), executor_of(execute, concurrency=2)
        timings = Timings(again_interval=0.01, abandoning=0.1)
        async with asyncio.timeout(20):
            working = asyncio.create_task(worker_of(intake, table, executor, timings=timings, grace=0).run(stop))
            await reached(lambda: table.taken == set(tasks) and (len(table.tried) == 2 or not ended))
            stop.set()
            try:
                await working
            finally:
                opened.set()

    with pytest.raises(HandlersAbandoned) as raised:
        asyncio.run(run())
    text = str(raised.value)
    assert text.startswith(f"2 tasks {what}: another transaction has locked their rows - they run again when")
    assert any(f"WHERE id = '{task}'" in text for task in tasks)
    assert "GRACE" not in text


def test_all_that_were_given_back_are_told_also_if_some_rows_were_locked_at_first() -> None:
    tasks = [uuid4(), uuid4()]

    async def run() -> None:
        opened = threading.Event()
        table = Table(tasks, random.Random(1))  # noqa: S311 - no secret
        running: set[UUID] = set()
        table.taken = set()

        def execute(task: Task) -> Outcome:
            running.add(task.id)
            opened.wait(20)
            return Completed(None)

        intake = Deliveries([delivery(tag, task) for tag, task in enumerate(tasks, start=1)])
        stop, executor = asyncio.Event(), executor_of(execute, concurrency=2)
        async with asyncio.timeout(20):
            working = asyncio.create_task(worker_of(intake, table, executor, timings=QUICK, grace=0).run(stop))
            await reached(lambda: len(running) == 2)
            table.taken = {tasks[1]}
            stop.set()
            await reached(lambda: table.tried[tasks[1]] > 1)
            table.taken = set()
            await working
            opened.set()

    with capture_logs() as logs:
        asyncio.run(run())
    assert [line["tasks"] for line in logs if line["event"] == "tasks given back that were not done in time"] == [2]


def test_what_is_unfinished_at_any_moment_says_which_handlers_have_begun_and_which_have_ended() -> None:
    """As at a second signal, which comes before the loop has looked at anything."""
    ended, running, waiting = (uuid4() for _ in range(3))

    async def run() -> None:
        going, begun, opened = threading.Event(), threading.Event(), threading.Event()
        table = Table([ended, running, waiting], random.Random(1))  # noqa: S311 - no secret

        def execute(task: Task) -> Outcome:
            if task.id == ended:
                going.wait(20)
            else:
                begun.set()
                opened.wait(20)
            return Completed("1")

        intake = Deliveries([delivery(tag, task) for tag, task in enumerate((ended, running, waiting), start=1)])
        stop, executor = asyncio.Event(), executor_of(execute, concurrency=1)
        worker = worker_of(intake, table, executor, grace=0)
        async with asyncio.timeout(20):
            working = asyncio.create_task(worker.run(stop))
            await reached(lambda: (executor.threads.active, executor.threads.waiting) == (1, 2))
            going.set()
            assert begun.wait(20), "meanwhile the loop stands still, and has not taken the first outcome"
            assert {run.task.id: run.outcome for run in worker.unfinished()} == {
                ended: Completed("1"),
                running: Unfinished("it still runs", started=True),
                waiting: Unfinished("it has not begun", started=False),
            }
            opened.set()
            stop.set()
            await working

    asyncio.run(run())
