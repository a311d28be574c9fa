"""The worker on a table in memory: each task runs once, is acked once, and holds up no other."""

import asyncio
import random
import threading
from uuid import uuid4

import pytest

from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Completed, Outcome
from consumers.intake.pace import Pace
from consumers.timings import Timings
from consumers.watching.metrics import Metrics
from tests.unit.consumers.executors import executor_of
from tests.unit.consumers.working import QUICK, Deliveries, Limited, Table, delivery, pace, reached, worker_of


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
