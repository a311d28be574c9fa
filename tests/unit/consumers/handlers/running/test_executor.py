"""Running handlers as the loop sees it: limited in number, each ends once, and no outcome is lost."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Completed, Failed, Outcome, Unfinished
from consumers.handlers.running.executor import Executor
from consumers.handlers.running.finished import Run
from tests.unit.consumers.executors import a_task, executor_of

GIVEN_BACK = Unfinished("given back", started=False)


def play(scenario: Coroutine[Any, Any, None]) -> None:
    async def run() -> None:
        async with asyncio.timeout(10):
            await scenario

    asyncio.run(run())


async def ended(executor: Executor) -> list[tuple[Task, Outcome]]:
    return [(run.task, run.outcome) for run in await executor.ended()]


class Gate:
    """A handler that waits until it is opened; of both kinds."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.opened = threading.Event()
        self.running = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, _: Task) -> Outcome:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.started.set()
        self.opened.wait(10)
        with self._lock:
            self.running -= 1
        return Completed("1")

    async def on_the_loop(self, _: Task) -> Outcome:
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.set()
        await asyncio.to_thread(self.opened.wait, 10)
        self.running -= 1
        return Completed("1")

    def executor(self, kind: str, concurrency: int) -> Executor:
        on_the_loop = self.on_the_loop if kind == "on the loop" else None
        return executor_of(self, concurrency=concurrency, on_the_loop=on_the_loop)

    async def is_running(self) -> None:
        await asyncio.to_thread(self.started.wait, 10)


@pytest.fixture(params=["in threads", "on the loop"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_no_more_run_than_there_is_room_and_the_others_wait(kind: str) -> None:
    async def scenario() -> None:
        gate = Gate()
        executor = gate.executor(kind, 3)
        executor.start([a_task() for _ in range(6)])
        await gate.is_running()
        gate.opened.set()
        number = 0
        while number < 6:
            number += len(await ended(executor))
        assert 1 <= gate.most <= 3
        executor.close()
        assert await ended(executor) == []

    play(scenario())


def test_it_tells_for_how_long_tasks_wait_and_for_how_long_each_ran(kind: str) -> None:
    async def scenario() -> None:
        gate = Gate()
        executor = gate.executor(kind, 1)
        executor.start([a_task()])
        await gate.is_running()
        assert executor.stalled() == 0, "none waits"
        executor.start([a_task()])
        first = executor.stalled()
        assert 0 < first < executor.stalled()
        assert executor.active == 1
        gate.opened.set()
        runs = await executor.ended()
        while len(runs) < 2:
            runs += await executor.ended()
        assert executor.stalled() == 0
        assert runs[0].seconds > first
        executor.close()

    play(scenario())


def test_those_that_wait_are_given_back_and_a_running_one_goes_on(kind: str) -> None:
    async def scenario() -> None:
        gate = Gate()
        executor = gate.executor(kind, 1)
        tasks = [a_task() for _ in range(4)]
        executor.start(tasks)
        await gate.is_running()
        executor.give_back()
        assert await ended(executor) == [(task, GIVEN_BACK) for task in tasks[1:]]
        gate.opened.set()
        executor.close()
        assert await ended(executor) == [(tasks[0], Completed("1"))]

    play(scenario())


def test_after_withdrawing_none_begins_and_running_ones_end(kind: str) -> None:
    async def scenario() -> None:
        gate = Gate()
        executor = gate.executor(kind, 1)
        running, waiting, late = a_task(), a_task(), a_task()
        executor.start([running])
        await gate.is_running()
        executor.start([waiting])
        executor.withdraw()
        executor.start([late])
        assert await ended(executor) == [(waiting, GIVEN_BACK), (late, GIVEN_BACK)]
        gate.opened.set()
        executor.close()
        assert await ended(executor) == [(running, Completed("1"))]
        assert await ended(executor) == []

    play(scenario())


def test_withdrawing_again_after_the_end_was_announced_keeps_no_thread() -> None:
    async def scenario() -> None:
        gate, before = Gate(), set(threading.enumerate())
        executor = gate.executor("in threads", 1)
        executor.start([a_task()])
        await gate.is_running()
        (thread,) = {each for each in threading.enumerate() if each.name.startswith("handler_")} - before
        executor.withdraw()
        executor.close()
        executor.withdraw()
        gate.opened.set()
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()

    play(scenario())


def test_an_outcome_is_among_those_left_from_its_first_moment_until_the_next_ones_are_asked_for() -> None:
    async def scenario() -> None:
        executor = executor_of(lambda _: Completed("1"), concurrency=1)
        task = a_task()
        executor.start([task])
        first: list[Run] = []
        until = time.monotonic() + 10
        while not first and time.monotonic() < until:  # the loop stands still meanwhile
            first = executor.left()
        assert (first[0].task, first[0].outcome) == (task, Completed("1"))
        runs = await executor.ended()
        assert [run.task for run in executor.left()] == [task], "its outcome is being written"
        executor.put_off(runs, 0.01)
        assert {run.task.claim for run in executor.left()} == {task.claim}
        assert [run.task for run in await executor.ended()] == [task]
        executor.close()
        assert await executor.ended() == []
        assert executor.left() == []

    play(scenario())


def test_an_error_of_the_execution_itself_is_a_failure_of_the_task(kind: str) -> None:
    async def scenario() -> None:
        def execute(_: Task) -> Outcome:
            raise RuntimeError("planted")

        async def on_the_loop(task: Task) -> Outcome:
            return execute(task)

        executor = executor_of(execute, concurrency=1, on_the_loop=on_the_loop if kind == "on the loop" else None)
        task = a_task()
        executor.start([task])
        assert await ended(executor) == [(task, Failed("RuntimeError: planted"))]
        executor.close()

    play(scenario())


def test_a_run_past_its_deadline_has_failed_while_its_handler_goes_on_and_another_takes_its_place(kind: str) -> None:
    async def scenario() -> None:
        gate = Gate()
        executor = gate.executor(kind, 1)
        late, next_one = a_task(), a_task()
        executor.start([late, next_one])
        await gate.is_running()
        executor.end_overdue()
        assert not late.cancelled(), "it has no deadline"
        late.deadline = time.monotonic() - 1
        executor.end_overdue()
        assert late.cancelled()
        [(task, outcome)] = await ended(executor)
        assert task is late
        assert outcome == Failed("TimeoutError: its handler ran for longer than allowed")
        gate.opened.set()
        assert await ended(executor) == [(next_one, Completed("1"))]
        executor.close()
        assert await ended(executor) == [], "the late one ends nothing"

    play(scenario())


def test_threads_that_are_given_up_are_replaced_only_up_to_a_limit_and_again_when_they_end() -> None:
    async def scenario() -> None:
        gate = Gate()
        executor = executor_of(gate, concurrency=1)
        for stuck in (False, True):
            hanging = a_task()
            gate.started.clear()
            executor.start([hanging])
            await gate.is_running()
            hanging.deadline = time.monotonic() - 1
            executor.end_overdue()
            assert len(await ended(executor)) == 1
            assert executor.threads.stuck == stuck
        after = a_task()
        executor.start([after])
        assert executor.threads.idle == 0
        gate.opened.set()
        assert await ended(executor) == [(after, Completed("1"))]
        assert executor.threads.late >= 1
        executor.close()

    play(scenario())


SEEN: ContextVar[str] = ContextVar("SEEN", default="nothing")


def test_a_handler_on_the_loop_does_not_see_the_context_of_the_one_before() -> None:
    async def scenario() -> None:
        found: list[str] = []

        async def on_the_loop(task: Task) -> Outcome:
            found.append(SEEN.get())
            SEEN.set(str(task.id))
            return Completed(None)

        executor = executor_of(lambda _: Completed(None), concurrency=1, on_the_loop=on_the_loop)
        executor.start([a_task(), a_task()])
        number = 0
        while number < 2:
            number += len(await ended(executor))
        assert found == ["nothing", "nothing"]
        executor.close()

    play(scenario())


def test_handlers_on_the_loop_that_do_not_end_when_cancelled_take_only_so_many_places() -> None:
    async def scenario() -> None:
        begun: list[Task] = []
        opened, another = asyncio.Event(), asyncio.Event()

        async def on_the_loop(task: Task) -> Outcome:
            begun.append(task)
            another.set()
            while not opened.is_set():
                try:
                    await opened.wait()
                except asyncio.CancelledError:
                    continue
            return Completed(None)

        executor = executor_of(lambda _: Completed(None), concurrency=1, on_the_loop=on_the_loop)
        tasks = [a_task() for _ in range(3)]
        executor.start(tasks)
        for number in (1, 2):
            await another.wait()
            another.clear()
            begun[-1].deadline = time.monotonic() - 1
            executor.end_overdue()
            assert [task for task, _ in await ended(executor)] == [tasks[number - 1]]
        assert executor.coroutines.active == 0, "the third has to wait"
        assert begun == tasks[:2]
        opened.set()
        assert await ended(executor) == [(tasks[2], Completed(None))]
        executor.close()

    play(scenario())
