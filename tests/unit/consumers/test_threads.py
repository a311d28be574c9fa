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


def test_no_more_run_than_there_are_threads_and_as_many_again_wait() -> None:
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
        assert await threads.room() == 6
        for left in (5, 4, 3, 2, 1):
            threads.start(a_task())
            assert await threads.room() == left
        threads.start(a_task())
        full = asyncio.create_task(threads.room())
        opened.set()
        assert await full >= 1
        ended = 0
        while ended < 6:
            ended += len(await threads.ended())
        assert most <= 3
        threads.close()
        assert await threads.ended() == []

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
        threads.start(running)
        await asyncio.to_thread(started.wait, 10)
        threads.start(waiting)
        threads.withdraw()
        assert await threads.room() == 0
        threads.start(late)
        assert await threads.ended() == [
            (waiting, Unfinished("given back", started=False)),
            (late, Unfinished("given back", started=False)),
        ]
        opened.set()
        threads.close()
        assert await threads.ended() == [(running, Completed("1"))]
        assert await threads.ended() == []

    play(scenario())


def test_withdrawing_ends_the_wait_for_room() -> None:
    async def scenario() -> None:
        opened = threading.Event()

        def execute(_: Task) -> Outcome:
            opened.wait(10)
            return Completed(None)

        threads = Threads(execute, concurrency=1)
        for _ in range(2):
            threads.start(a_task())
        waiting = asyncio.create_task(threads.room())
        threads.withdraw()
        assert await waiting == 0
        opened.set()
        threads.close()
        while await threads.ended():
            pass

    play(scenario())


def test_an_error_of_the_execution_itself_is_a_failure_of_the_task() -> None:
    async def scenario() -> None:
        def execute(_: Task) -> Outcome:
            raise RuntimeError("planted")

        threads = Threads(execute, concurrency=1)
        task = a_task()
        threads.start(task)
        assert await threads.ended() == [(task, Failed("RuntimeError: planted"))]
        threads.close()

    play(scenario())
