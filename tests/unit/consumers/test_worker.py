"""The worker on a table in memory that answers late and in any order: each task runs once, and is acked once.

The table replaces claims.py and behaves as its statements do: each is atomic, and its answer is read some turns of the
loop later, when the row may have changed again.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from consumers.claims.claims import Claims
from consumers.claims.verdicts import Row, RowLocked
from consumers.errors import DatabaseFailed, HandlersAbandoned
from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Applied, ClaimLost, Completed, Ending, Failed, Outcome, Unfinished, Unwritten
from consumers.handlers.running.executor import Executor
from consumers.intake.intake import Intake
from consumers.intake.pace import Pace
from consumers.timings import Timings
from consumers.watching.executions import Executions
from consumers.watching.metrics import Metrics
from consumers.worker import Worker
from outboxkit.amqp.consuming.deliveries import Delivery
from outboxkit.amqp.format import TaskReference
from tests.unit.consumers.executors import executor_of

LOCKED = Row(None, None, None, None, None, None, None, None, None, absent=False, locked=True)


class Table(Claims):
    """Tasks in memory; a row is locked by another transaction with the probability `locked`, or while in `taken`."""

    def __init__(self, tasks: Collection[UUID], randomness: random.Random, *, locked: float = 0.0) -> None:
        self.worker = "me"
        self.lease = 1000
        self.rows = dict.fromkeys(tasks, ("pending", 1))
        self.runs: Counter[UUID] = Counter()
        self.written: dict[UUID, Unwritten] = {}
        self._lock = threading.Lock()
        self._random = randomness
        self._locked = locked
        self.taken: set[UUID] = set()
        self.claims = 0
        """How many statements of claims there were."""
        self.tried: Counter[UUID] = Counter()
        """How often the outcome of each task was to be written."""

    async def claim(self, asked: dict[TaskReference, str | None]) -> dict[TaskReference, Row]:
        await self._some_turns()
        self.claims += 1
        answer = {}
        with self._lock:
            for reference in asked:
                if self._is_locked(UUID(reference.task_id)):
                    answer[reference] = LOCKED
                    continue
                if self.rows[UUID(reference.task_id)] == ("pending", reference.version):
                    self.rows[UUID(reference.task_id)] = ("running", reference.version + 1)
                status, version = self.rows[UUID(reference.task_id)]
                answer[reference] = Row("t", status, version, 1, 5, "me", None, 0.5, None, absent=False, locked=False)
        await self._some_turns()
        return answer

    async def end(self, outcomes: Sequence[tuple[Task, Unwritten]]) -> list[Ending | RowLocked]:
        await self._some_turns()
        answer: list[Ending | RowLocked] = []
        for task, outcome in outcomes:
            self.tried[task.id] += 1
            if self._is_locked(task.id):
                answer.append(RowLocked())
                continue
            answer.append(self._ended(task, outcome))
            self.written[task.id] = outcome
        await self._some_turns()
        return answer

    async def extend(self, claimed: Collection[TaskReference]) -> set[TaskReference]:
        del claimed
        return set()

    async def stopping(self, claimed: Collection[TaskReference]) -> list[TaskReference]:
        with self._lock:
            return [each for each in claimed if self.rows[UUID(each.task_id)] != ("running", each.version)]

    def execute(self, task: Task) -> Outcome:
        """Run a task of one kind or the other."""
        self.runs[task.id] += 1
        if task.id.int % 2:
            return Completed(None)
        return Applied() if self._ended(task, Completed(None)) == "completed" else ClaimLost()

    def _is_locked(self, task: UUID) -> bool:
        return task in self.taken or self._random.random() < self._locked

    def _ended(self, task: Task, outcome: Unwritten) -> Ending:
        with self._lock:
            if self.rows[task.id] != ("running", task.version):
                return "lost"
            match outcome:
                case Completed():
                    self.rows[task.id] = ("completed", task.version + 1)
                    return "completed"
                case Failed():
                    self.rows[task.id] = ("scheduled", task.version + 2)
                    return "failed"
                case Unfinished():
                    self.rows[task.id] = ("pending", task.version + 1)
                    return "released"
                case ClaimLost():
                    raise AssertionError(f"the claim of {task} is not lost")

    async def _some_turns(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self._random.randrange(8)):
            turn = loop.create_future()
            loop.call_soon(turn.set_result, None)
            await turn


class Deliveries(Intake):
    """Deliveries from a list, and what was acked of them."""

    def __init__(self, deliveries: list[Delivery]) -> None:
        self._left = deliveries
        self._expected = len(deliveries)
        self._end = asyncio.Event()
        self.acked: list[int] = []
        self.prefetch = 0
        self.all_acked = asyncio.Event()
        self.some_acked = asyncio.Event()
        self.generation = 1

    async def receive(self, limit: int) -> list[Delivery]:
        if not self._left:
            await self._end.wait()
            return []
        now, self._left = self._left[:limit], self._left[limit:]
        return now

    def ack(self, delivery: Delivery) -> None:
        self.acked.append(delivery.tag)
        self.some_acked.set()
        if len(self.acked) == self._expected:
            self.all_acked.set()

    def owns(self, delivery: Delivery) -> bool:
        return delivery.generation == self.generation

    def counts(self, delivery: Delivery) -> bool:
        return self.owns(delivery)

    async def set_prefetch(self, prefetch: int) -> None:
        self.prefetch = prefetch

    async def stop(self) -> None:
        self._end.set()


class Limited(Deliveries):
    """Deliveries as RabbitMQ's: of those since the prefetch was set last, no more than that are unacknowledged."""

    def __init__(self, deliveries: list[Delivery], *, prefetch: int) -> None:
        super().__init__(deliveries)
        self.prefetch = prefetch
        self.most = 0
        """How many were unacknowledged at once."""
        self._sent: set[int] = set()
        self._before: set[int] = set()
        self._changed = asyncio.Event()

    async def receive(self, limit: int) -> list[Delivery]:
        while self._left and not self._end.is_set():
            room = self.prefetch - len(self._sent - self._before)
            if room > 0:
                now = await super().receive(min(room, limit))
                self._sent.update(each.tag for each in now)
                self.most = max(self.most, len(self._sent))
                return now
            self._changed.clear()
            await self._changed.wait()
        await self._end.wait()
        return []

    def counts(self, delivery: Delivery) -> bool:
        return delivery.tag not in self._before

    def ack(self, delivery: Delivery) -> None:
        super().ack(delivery)
        self._sent.discard(delivery.tag)
        self._changed.set()

    async def set_prefetch(self, prefetch: int) -> None:
        await super().set_prefetch(prefetch)
        self._before = set(self._sent)
        self._changed.set()

    async def stop(self) -> None:
        await super().stop()
        self._changed.set()


async def reached(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - for some turns of the loop, not for a time
        await asyncio.sleep(0)


def pace() -> Pace:
    return Pace(concurrency=4, cap=100)


def worker_of(  # noqa: PLR0913 - the parts of a worker
    intake: Intake,
    table: Table,
    executor: Executor,
    *,
    paced: Pace | None = None,
    metrics: Metrics | None = None,
    timings: Timings = Timings(),  # noqa: B008 - frozen
    grace: float = 20,
) -> Worker:
    return Worker(
        intake, table, ending=table, leasing=table, executor=executor, pace=paced or pace(),
        metrics=metrics or Metrics(frozenset({"t"})), executions=Executions(), timings=timings, grace=grace,
    )  # fmt: skip


def delivery(tag: int, task: UUID, *, generation: int = 1) -> Delivery:
    headers = {"aggregate_type": "task", "aggregate_id": str(task), "aggregate_version": 1}
    return Delivery(tag, None, headers, b"", redelivered=False, routing_key="", generation=generation)


@pytest.mark.parametrize("seed", range(20))
def test_each_task_runs_once_and_each_delivery_is_acked_once(seed: int) -> None:
    randomness = random.Random(seed)  # noqa: S311 - an order of events, no secret
    tasks = [uuid4() for _ in range(60)]
    order = tasks * 3
    # Copies come close together, so that one is claimed while the outcome of another is being written.
    order.sort(key=lambda task: tasks.index(task) + randomness.uniform(0, 12))
    deliveries = [delivery(tag, task) for tag, task in enumerate(order, start=1)]

    async def run() -> tuple[Table, Deliveries, Metrics]:
        table = Table(tasks, randomness, locked=0.1)
        intake, metrics = Deliveries(deliveries), Metrics(frozenset({"t"}))
        executor = executor_of(table.execute, concurrency=4)
        stop = asyncio.Event()
        async with asyncio.timeout(20):
            working = asyncio.create_task(worker_of(intake, table, executor, metrics=metrics).run(stop))
            await intake.all_acked.wait()
            stop.set()
            await working
        return table, intake, metrics

    table, intake, metrics = asyncio.run(run())
    assert table.runs == dict.fromkeys(tasks, 1)
    assert sorted(intake.acked) == list(range(1, 181))
    assert set(table.rows.values()) == {("completed", 3)}
    counted = {
        outcome: metrics.registry.get_sample_value("consumers_tasks_total", {"type": "t", "outcome": outcome})
        for outcome in ("completed", "duplicate", "lost")
    }
    assert counted == {"completed": 60, "duplicate": 120, "lost": None}


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


def test_claims_that_would_wait_behind_long_handlers_are_given_back_and_fewer_deliveries_asked_for() -> None:
    """After short tasks a consumer holds many; then long ones come, and another consumer has room for them."""
    tasks = [uuid4() for _ in range(40)]

    async def run() -> None:
        opened = threading.Event()
        table = Table(tasks, random.Random(1))  # noqa: S311 - no secret

        def execute(task: Task) -> Outcome:
            table.runs[task.id] += 1
            opened.wait(20)
            return Completed(None)

        intake, held = Deliveries([delivery(tag, task) for tag, task in enumerate(tasks, start=1)]), pace()
        for _ in range(300):
            held.ran(0.000_01)
        assert held.adjust()
        assert held.prefetch == 100
        stop = asyncio.Event()
        executor = executor_of(execute, concurrency=4)
        worker = worker_of(intake, table, executor, paced=held, timings=Timings(pace_interval=0.01))
        async with asyncio.timeout(20):
            working = asyncio.create_task(worker.run(stop))
            await intake.some_acked.wait()
            assert intake.prefetch == held.prefetch == 4
            assert len(table.runs) == 4
            opened.set()
            await intake.all_acked.wait()
            stop.set()
            await working
        assert table.runs == dict.fromkeys(table.runs, 1)
        assert sum(status == "pending" and version == 3 for status, version in table.rows.values()) == 36

    asyncio.run(run())


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


QUICK = Timings(pace_interval=0.01, again_interval=0.01, again_at_first=0.01)


def test_tasks_whose_rows_are_locked_do_not_take_the_place_of_others() -> None:
    """Ten times as many as there are handlers, and handlers that take long: no more are taken than they can work on."""
    taken, free = [uuid4() for _ in range(40)], [uuid4() for _ in range(20)]

    async def run() -> None:
        table = Table(taken + free, random.Random(1))  # noqa: S311 - no secret
        table.taken = set(taken)
        paced = Pace(concurrency=4, cap=100)
        for _ in range(200):
            paced.ran(1.0)
        intake = Limited([delivery(tag, task) for tag, task in enumerate(taken + free, start=1)], prefetch=4)
        executor = executor_of(lambda _: Completed(None), concurrency=4)
        stop = asyncio.Event()
        async with asyncio.timeout(20):
            working = asyncio.create_task(worker_of(intake, table, executor, paced=paced, timings=QUICK).run(stop))
            while len(intake.acked) < len(free):
                intake.some_acked.clear()
                await intake.some_acked.wait()
            assert sorted(intake.acked) == list(range(41, 61))
            assert intake.most <= 40 + 2 * paced.prefetch
            table.taken.clear()
            await intake.all_acked.wait()
            stop.set()
            await working
        assert set(table.rows.values()) == {("completed", 3)}

    asyncio.run(run())


def test_a_delivery_that_waits_is_forgotten_when_its_channel_is_lost() -> None:
    lost, ours = uuid4(), uuid4()

    async def run() -> None:
        table = Table([lost, ours], random.Random(1))  # noqa: S311 - no secret
        table.taken = {lost, ours}
        intake = Deliveries([delivery(1, lost, generation=0), delivery(1, ours)])
        stop, executor = asyncio.Event(), executor_of(lambda _: Completed(None), concurrency=1)
        async with asyncio.timeout(20):
            working = asyncio.create_task(worker_of(intake, table, executor, timings=QUICK).run(stop))
            await reached(lambda: bool(table.claims))
            table.taken.clear()
            await intake.some_acked.wait()
            stop.set()
            await working
        assert table.rows == {lost: ("pending", 1), ours: ("completed", 3)}

    asyncio.run(run())


def test_an_outcome_whose_row_was_locked_for_a_moment_is_written_after_a_moment() -> None:
    task = uuid4()

    async def run() -> None:
        table = Table([task], random.Random(1))  # noqa: S311 - no secret

        def execute(_: Task) -> Outcome:
            table.taken.add(task)
            return Completed(None)

        intake = Deliveries([delivery(1, task)])
        stop, executor = asyncio.Event(), executor_of(execute, concurrency=1)
        async with asyncio.timeout(20):
            worker = worker_of(intake, table, executor, timings=Timings(again_at_first=0.01, again_interval=1000))
            working = asyncio.create_task(worker.run(stop))
            await reached(lambda: bool(table.tried))
            table.taken.clear()
            await intake.all_acked.wait()
            stop.set()
            await working

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
