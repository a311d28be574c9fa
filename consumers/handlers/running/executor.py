"""Runs the handlers of tasks, in threads or on the loop, whichever their function is; outcomes come in batches."""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Unfinished
from consumers.handlers.running.coroutines import Coroutines
from consumers.handlers.running.failures import Failures
from consumers.handlers.running.finished import Finished, Run
from consumers.handlers.running.threads import Threads

log = structlog.get_logger()
_STOPPING = "the consumer stops"
_ELSEWHERE = "they would wait here, and another consumer may be free"


class Executor:
    """Both kinds as one; `is_async` tells which a task is of, `failures` how a run past its deadline ends.

    There is room for more tasks while at most `low_water` wait: so more of them are claimed at once than if each that
    ends made room for one.
    """

    def __init__(  # noqa: PLR0913 - its parts
        self,
        threads: Threads,
        coroutines: Coroutines,
        finished: Finished,
        *,
        is_async: Callable[[Task], bool],
        failures: Failures,
        low_water: int,
    ) -> None:
        self.threads = threads
        self.coroutines = coroutines
        self._finished = finished
        self._is_async = is_async
        self._failures = failures
        self._stopping = False
        self._low_water = low_water
        self._room = asyncio.Event()
        self._room.set()

    @property
    def active(self) -> int:
        """How many handlers run."""
        return self.threads.active + self.coroutines.active

    def start(self, tasks: Iterable[Task]) -> None:
        """Run `tasks` as soon as there is room for them; after `withdraw`, end them unfinished at once."""
        in_threads: list[Task] = []
        on_the_loop: list[Task] = []
        for task in tasks:
            if self._stopping:
                self._finished.begin()
                self._finished.end(task, Unfinished(_STOPPING, started=False))
            else:
                (on_the_loop if self._is_async(task) else in_threads).append(task)
        if in_threads:
            self.threads.start(in_threads)
        if on_the_loop:
            self.coroutines.start(on_the_loop)
        if self._waiting > self._low_water:
            self._room.clear()

    async def room(self) -> None:
        """Wait until few tasks wait."""
        await self._room.wait()

    def stalled(self) -> float:
        """Return for how many seconds tasks have waited and none was begun."""
        return max(self.threads.stalled(), self.coroutines.stalled())

    async def ended(self) -> list[Run]:
        """Wait for outcomes and return all that have arrived; none when it is closed and all have been returned."""
        runs = await self._finished.get()
        if self._waiting <= self._low_water:
            self._room.set()
        return runs

    def put_off(self, runs: list[Run], seconds: float) -> None:
        """Take back outcomes that could not be written: `ended` returns them again after `seconds`."""
        self._finished.put_off(runs, seconds)

    def left(self) -> list[Run]:
        """Return the outcomes that are there, except what was returned before the last `ended`; they stay.

        One may be among them twice.
        """
        return [*self.threads.left(), *self._finished.left()]

    def withdraw(self) -> None:
        """Start no more tasks: those that wait end unfinished, running ones continue."""
        self._stopping = True
        self._give_back(_STOPPING)

    def give_back(self) -> None:
        """End the tasks that wait unfinished."""
        self._give_back(_ELSEWHERE)

    def end_overdue(self) -> None:
        """Let tasks fail whose deadline has passed, whatever their handlers still do."""
        for task, thread in self.threads.overdue():
            log.warning(
                "a handler runs on after its deadline, in a thread that was given up",
                task=task.claim.task_id,
                type=task.type,
                thread=thread,
                remedy="let it look at task.cancelled(), or give what it waits for a timeout",
            )
            self._finished.end(task, self._failures.timed_out(task), self._failures.timeout(task))
        for task in self.coroutines.overdue():
            self._finished.end(task, self._failures.timed_out(task), self._failures.timeout(task))

    def close(self) -> None:
        """End `ended` after the last outcome: no more tasks will be started."""
        self._finished.close()
        self.threads.close()

    @property
    def _waiting(self) -> int:
        return self.threads.waiting + self.coroutines.waiting

    def _give_back(self, reason: str) -> None:
        for kind in (self.threads, self.coroutines):
            for task in kind.withdraw():
                self._finished.end(task, Unfinished(reason, started=False))
        self._room.set()
