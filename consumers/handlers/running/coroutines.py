"""Asynchronous handlers: a limited number of them run on the loop, each as a task of its own.

A task of its own gives each handler its own context variables, and lets it be cancelled alone.
"""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator

from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Failed, Outcome, describe
from consumers.handlers.running.finished import Finished
from consumers.handlers.running.runs import Runs


class Coroutines:
    """Runs tasks through `execute`, at most `concurrency` at once."""

    def __init__(self, execute: Callable[[Task], Awaitable[Outcome]], finished: Finished, *, concurrency: int) -> None:
        self._execute = execute
        self._finished = finished
        self._concurrency = concurrency
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._waiting: deque[Task] = deque()
        self._taken_at = 0.0
        """When a task was begun last, or the first one began to wait."""
        self._runs: Runs[asyncio.Task[None]] = Runs()
        self._late: set[asyncio.Task[None]] = set()
        """Those that were cancelled at their deadline and have not ended."""

    @property
    def active(self) -> int:
        """How many handlers run."""
        return len(self._runs)

    @property
    def waiting(self) -> int:
        """How many tasks wait for room."""
        return len(self._waiting)

    def start(self, tasks: Iterable[Task]) -> None:
        """Run `tasks` as soon as there is room for them."""
        if not self._waiting:
            self._taken_at = time.perf_counter()
        for task in tasks:
            self._finished.begin()
            self._waiting.append(task)
        self._fill()

    def stalled(self) -> float:
        """Return for how many seconds tasks have waited and none was begun."""
        return time.perf_counter() - self._taken_at if self._waiting else 0.0

    def withdraw(self) -> Iterator[Task]:
        """Yield the tasks that wait: they will not run, and whoever withdraws them says how they end."""
        while self._waiting:
            yield self._waiting.popleft()

    def overdue(self) -> Iterator[Task]:
        """Cancel the runs of tasks that have passed their deadline, and yield these."""
        for task, running in self._runs.overdue():
            running.cancel()
            self._late.add(running)
            running.add_done_callback(self._ended_late)
            yield task
        self._fill()

    def cancel(self) -> None:
        """Cancel all: the consumer ends, and what still runs does so too."""
        for running in self._runs.holders() | self._late:
            running.cancel()

    def _fill(self) -> None:
        # As with threads: those that do not end in spite of their cancellation take no more places than there are.
        room = self._concurrency - max(0, len(self._late) - self._concurrency)
        while self._waiting and len(self._runs) < room:
            task = self._waiting.popleft()
            self._taken_at = time.perf_counter()
            running = self._loop.create_task(self._run(task, self._taken_at), context=self._context.copy())
            self._runs.begin(task, running)

    def _ended_late(self, running: asyncio.Task[None]) -> None:
        self._late.discard(running)
        self._fill()

    async def _run(self, task: Task, begun: float) -> None:
        try:
            outcome = await self._execute(task)
        except BaseException as error:  # noqa: BLE001 - it should not raise; if it does, no task may be lost
            outcome = Failed(describe(error), again_after=1.0)
        if self._runs.end(task):
            self._finished.end(task, outcome, time.perf_counter() - begun)
            self._fill()
