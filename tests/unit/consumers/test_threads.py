"""Handler threads as the loop sees them: limited in number, and no outcome is lost."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any
from uuid import uuid4

from consumers.handlers.outcomes import Completed, Failed, Outcome, Unfinished
from consumers.handlers.task import Task
from consumers.handlers.threads import Threads


def a_task() -> Task:
    return Task(uuid4(), "t", None, 2, 1, "w")


def play(scenario: Coroutine[Any, Any, None]) -> None:
    async def run() -> None:
        async with asyncio.timeout(10):
            await scenario

    asyncio.run(run())


def test_no_more_run_than_there_are_threads_and_the_others_wait() -> None:
    async def scenario() -> None:
        opened, running, most = threading.Event(), 0, 0
        lock = threading.Lock()

        def execute(_: Task) -> Outcome:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            opened.wait(10)
            with lock:
                running -= 1
            return Completed(None)

        threads = Threads(execute, concurrency=3)
        threads.start([a_task() for _ in range(6)])
        opened.set()
        ended = 0
        while ended < 6:
            ended += len(await threads.ended())
        assert 1 <= most <= 3
        threads.close()
        assert await threads.ended() == []

    play(scenario())


def test_it_tells_for_how_long_tasks_wait_for_a_thread_and_for_how_long_each_ran() -> None:
    async def scenario() -> None:
        started, opened = threading.Event(), threading.Event()

        def execute(_: Task) -> Outcome:
            started.set()
            opened.wait(10)
            return Completed(None)

        ran: list[float] = []
        threads = Threads(execute, concurrency=1, ran=ran.append)
        threads.start([a_task()])
        await asyncio.to_thread(started.wait, 10)
        assert threads.stalled() == 0, "none waits"
        threads.start([a_task()])
        first = threads.stalled()
        assert 0 < first < threads.stalled()
        opened.set()
        while len(ran) < 2:
            await threads.ended()
        assert threads.stalled() == 0
        assert ran[0] > first
        threads.close()

    play(scenario())


def test_those_that_wait_are_given_back_and_a_running_one_goes_on() -> None:
    async def scenario() -> None:
        started, opened = threading.Event(), threading.Event()

        def execute(_: Task) -> Outcome:
            started.set()
            opened.wait(10)
            return Completed("1")

        threads = Threads(execute, concurrency=1)
        tasks = [a_task() for _ in range(4)]
        threads.start(tasks)
        await asyncio.to_thread(started.wait, 10)
        threads.give_back()
        assert await threads.ended() == [(task, Unfinished("given back", started=False)) for task in tasks[1:]]
        opened.set()
        threads.close()
        assert await threads.ended() == [(tasks[0], Completed("1"))]

    play(scenario())


def test_withdrawing_gives_back_waiting_tasks_and_lets_running_ones_end() -> None:
    async def scenario() -> None:
        started, opened = threading.Event(), threading.Event()

        def execute(_: Task) -> Outcome:
            started.set()
            opened.wait(10)
            return Completed("1")

        threads = Threads(execute, concurrency=1)
        running, waiting, late = a_task(), a_task(), a_task()
        threads.start([running])
        await asyncio.to_thread(started.wait, 10)
        threads.start([waiting])
        threads.withdraw()
        threads.start([late])
        assert await threads.ended() == [
            (waiting, Unfinished("given back", started=False)),
            (late, Unfinished("given back", started=False)),
        ]
        opened.set()
        threads.close()
        assert await threads.ended() == [(running, Completed("1"))]
        assert await threads.ended() == []

    play(scenario())


def test_an_error_of_the_execution_itself_is_a_failure_of_the_task() -> None:
    async def scenario() -> None:
        def execute(_: Task) -> Outcome:
            raise RuntimeError("planted")

        threads = Threads(execute, concurrency=1)
        task = a_task()
        threads.start([task])
        assert await threads.ended() == [(task, Failed("RuntimeError: planted"))]
        threads.close()

    play(scenario())
