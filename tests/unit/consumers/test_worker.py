"""The pipeline over a table in memory whose answers come late and in any order: each task runs once, and is acked once.

The table stands for claims.py, and behaves as its statements do: each is atomic, and its answer is read some turns of
the loop later, when the row may have moved on.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from uuid import UUID, uuid4

import pytest

from consumers.claims.claims import Claims
from consumers.claims.outcomes import Applied, ClaimLost, Completed, Failed, Outcome, Settlement, Unfinished, Written
from consumers.claims.verdicts import Row
from consumers.handlers.task import Task
from consumers.handlers.threads import Threads
from consumers.intake.intake import Intake
from consumers.watching.metrics import Metrics
from consumers.worker import Worker
from outboxkit.amqp.format import TaskReference
from outboxkit.amqp.subscription import Delivery


class Table(Claims):
    """Tasks in memory."""

    def __init__(self, tasks: Collection[UUID], randomness: random.Random) -> None:
        self.worker = "me"
        self.lease = 1000
        self.rows = dict.fromkeys(tasks, ("pending", 1))
        self.runs: Counter[UUID] = Counter()
        self._lock = threading.Lock()
        self._random = randomness

    async def claim(self, asked: dict[TaskReference, str | None]) -> dict[TaskReference, Row]:
        await self._some_turns()
        answer = {}
        with self._lock:
            for reference in asked:
                if self.rows[reference.task_id] == ("pending", reference.version):
                    self.rows[reference.task_id] = ("running", reference.version + 1)
                status, version = self.rows[reference.task_id]
                answer[reference] = Row("t", status, version, 1, "me", None, None, absent=False)
        await self._some_turns()
        return answer

    async def settle(self, outcomes: Sequence[tuple[Task, Written]]) -> list[Settlement]:
        await self._some_turns()
        answer: list[Settlement] = [self._settled(task, outcome) for task, outcome in outcomes]
        await self._some_turns()
        return answer

    async def extend(self, held: Collection[TaskReference]) -> None:
        del held

    async def release_expired(self) -> dict[UUID, str]:
        return {}

    def execute(self, task: Task) -> Outcome:
        """Run a task of one kind or the other."""
        self.runs[task.id] += 1
        if task.id.int % 2:
            return Completed(None)
        return Applied() if self._settled(task, Completed(None)) == "completed" else ClaimLost()

    def _settled(self, task: Task, outcome: Written) -> Settlement:
        with self._lock:
            if self.rows[task.id] != ("running", task.version):
                return "lost"
            match outcome:
                case Completed():
                    self.rows[task.id] = ("completed", task.version + 1)
                    return "completed"
                case Failed():
                    self.rows[task.id] = ("failed", task.version + 1)
                    return "failed"
                case Unfinished():
                    self.rows[task.id] = ("pending", task.version + 1)
                    return "released"

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
        self.all_acked = asyncio.Event()

    async def receive(self, limit: int) -> list[Delivery]:
        if not self._left:
            await self._end.wait()
            return []
        now, self._left = self._left[:limit], self._left[limit:]
        return now

    def ack(self, delivery: Delivery) -> None:
        self.acked.append(delivery.tag)
        if len(self.acked) == self._expected:
            self.all_acked.set()

    async def stop(self) -> None:
        self._end.set()


@pytest.mark.parametrize("seed", range(20))
def test_each_task_runs_once_and_each_delivery_is_acked_once(seed: int) -> None:
    randomness = random.Random(seed)  # noqa: S311 - an order of events, no secret
    tasks = [uuid4() for _ in range(60)]
    order = tasks * 3
    # Copies come close together, so that one is asked for while another is being settled.
    order.sort(key=lambda task: tasks.index(task) + randomness.uniform(0, 12))
    deliveries = [
        Delivery(
            tag, None, {"aggregate_type": "task", "aggregate_id": str(task), "aggregate_version": 1}, b"", False, "", 1
        )
        for tag, task in enumerate(order, start=1)
    ]

    async def run() -> tuple[Table, Deliveries, Metrics]:
        table, intake, metrics = Table(tasks, randomness), Deliveries(deliveries), Metrics(frozenset({"t"}))
        threads = Threads(table.execute, concurrency=4)
        stop = asyncio.Event()
        async with asyncio.timeout(20):
            working = asyncio.create_task(Worker(intake, table, table, threads, metrics).run(stop))
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
