"""A worker on a table in memory that answers late and in any order, and on deliveries from a list.

The table replaces claims.py and behaves as its statements do: each is atomic, and its answer is read some turns of the
loop later, when the row may have changed again.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from uuid import UUID

from consumers.claims.claims import Claims
from consumers.claims.verdicts import Row, RowLocked
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

QUICK = Timings(pace_interval=0.01, again_interval=0.01, again_at_first=0.01)
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
