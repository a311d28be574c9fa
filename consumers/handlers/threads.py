"""Handler threads, as the loop sees them: a limited number of tasks, and outcomes in batches.

As many tasks as there are threads may wait, so that a thread that ends finds its next task without a round trip to the
database. No more may wait, since other consumers could run them.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from consumers.handlers.outcomes import Failed, Outcome, Unfinished, describe
from consumers.handlers.task import Task

_STOPPING = "the consumer stops"


class Threads:
    """Runs tasks through `execute` in `concurrency` threads; made and used in the loop's own thread."""

    def __init__(self, execute: Callable[[Task], Outcome], *, concurrency: int) -> None:
        self._execute = execute
        self._executor = ThreadPoolExecutor(concurrency, thread_name_prefix="handler")
        self._loop = asyncio.get_running_loop()
        self._limit = 2 * concurrency
        self._started: dict[Future[Outcome], Task] = {}
        self._ended: deque[tuple[Task, Outcome]] = deque()
        self._changed = asyncio.Event()
        self._freed = asyncio.Event()
        self._withdrawn = False
        self._closed = False

    def start(self, task: Task) -> None:
        """Run `task` as soon as a thread is free; after `withdraw`, end it unfinished at once."""
        if self._withdrawn:
            self._end(task, Unfinished(_STOPPING, started=False))
            return
        future = self._executor.submit(self._execute, task)
        self._started[future] = task
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._on_done, done))

    async def room(self) -> int:
        """Wait until more tasks may be started, and return how many; return 0 after `withdraw`."""
        while not self._withdrawn:
            if (room := self._limit - len(self._started)) > 0:
                return room
            self._freed.clear()
            await self._freed.wait()
        return 0

    async def ended(self) -> list[tuple[Task, Outcome]]:
        """Wait for outcomes and return all that have arrived; nothing when closed and all have been returned."""
        while not self._ended and not (self._closed and not self._started):
            self._changed.clear()
            await self._changed.wait()
        ended = list(self._ended)
        self._ended.clear()
        return ended

    def withdraw(self) -> None:
        """Start no more tasks: those that wait for a thread end unfinished, running ones continue."""
        self._withdrawn = True
        self._freed.set()
        for future, task in list(self._started.items()):
            if future.cancel():
                self._end(task, Unfinished(_STOPPING, started=False))

    def close(self) -> None:
        """End `ended` after the last outcome: no more tasks will be started."""
        self._closed = True
        self._changed.set()
        self._executor.shutdown(wait=False)

    def _on_done(self, future: "Future[Outcome]") -> None:
        task = self._started.pop(future)
        if not future.cancelled():
            error = future.exception()  # `execute` should not raise; if it does, the task must not be lost
            self._end(task, future.result() if error is None else Failed(describe(error)))
        self._freed.set()
        self._changed.set()

    def _end(self, task: Task, outcome: Outcome) -> None:
        self._ended.append((task, outcome))
        self._changed.set()
