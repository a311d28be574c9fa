"""Handler threads, as the loop sees them: a limited number of tasks run, and outcomes come in batches.

Threads take tasks from one queue and leave outcomes in another. The loop is woken once for all outcomes that are there
when it looks: a handler that does nothing costs some microseconds, and not a future and a system call.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue

from consumers.handlers.outcomes import Failed, Outcome, Unfinished, describe
from consumers.handlers.task import Task

_STOPPING = "the consumer stops"
_ELSEWHERE = "they would wait here, and another consumer may be free"


class Threads:
    """Runs tasks through `execute` in `concurrency` threads; made and used in the loop's own thread.

    The threads are started when there is work for them, and do not keep the process alive. `ran` is told for how many
    seconds each handler ran.
    """

    def __init__(
        self, execute: Callable[[Task], Outcome], *, concurrency: int, ran: Callable[[float], None] = lambda _: None
    ) -> None:
        self._execute = execute
        self._ran = ran
        self._concurrency = concurrency
        self._loop = asyncio.get_running_loop()
        self._threads = 0
        self._waiting: SimpleQueue[Task | None] = SimpleQueue()
        self._taken_at = 0.0
        """When a thread has taken a task last, or the first one began to wait."""
        self._done: deque[tuple[Task, Outcome, float]] = deque()
        """What threads have left and the loop has not taken."""
        self._woken = False
        """Whether the loop will look at `_done`."""
        self._started = 0
        """How many tasks have no outcome yet."""
        self._ended: list[tuple[Task, Outcome]] = []
        self._changed = asyncio.Event()
        self._withdrawn = False
        self._closed = False

    def start(self, tasks: Iterable[Task]) -> None:
        """Run `tasks` as soon as threads are free; after `withdraw`, end them unfinished at once."""
        if self._waiting.empty():
            self._taken_at = time.perf_counter()
        for task in tasks:
            if self._withdrawn:
                self._end(task, Unfinished(_STOPPING, started=False))
                continue
            self._started += 1
            self._waiting.put(task)
        while self._threads < min(self._concurrency, self._started):
            self._threads += 1
            threading.Thread(target=self._work, name=f"handler_{self._threads}", daemon=True).start()

    def stalled(self) -> float:
        """Return for how many seconds tasks have waited and no thread was free for one."""
        return 0.0 if self._waiting.empty() else time.perf_counter() - self._taken_at

    async def ended(self) -> list[tuple[Task, Outcome]]:
        """Wait for outcomes and return all that have arrived; nothing when closed and all have been returned."""
        while not self._ended and not (self._closed and not self._started):
            self._changed.clear()
            await self._changed.wait()
        ended, self._ended = self._ended, []
        return ended

    def withdraw(self) -> None:
        """Start no more tasks: those that wait for a thread end unfinished, running ones continue."""
        self._withdrawn = True
        self._end_waiting(_STOPPING)

    def give_back(self) -> None:
        """End the tasks that wait for a thread unfinished."""
        self._end_waiting(_ELSEWHERE)

    def _end_waiting(self, reason: str) -> None:
        with suppress(Empty):
            while (task := self._waiting.get_nowait()) is not None:
                self._started -= 1
                self._end(task, Unfinished(reason, started=False))

    def close(self) -> None:
        """End `ended` after the last outcome, and the threads: no more tasks will be started."""
        self._closed = True
        self._changed.set()
        for _ in range(self._threads):
            self._waiting.put(None)

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            begun = self._taken_at = time.perf_counter()
            try:
                outcome = self._execute(task)
            except BaseException as error:  # noqa: BLE001 - `execute` should not raise; if it does, no task may be lost
                outcome = Failed(describe(error))
            self._done.append((task, outcome, time.perf_counter() - begun))
            if not self._woken:
                self._woken = True
                with suppress(RuntimeError):  # the loop has ended: the handler was abandoned
                    self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        self._woken = False  # before it looks: a thread that sees it true later has left its outcome before
        while self._done:
            task, outcome, seconds = self._done.popleft()
            self._ended.append((task, outcome))
            self._started -= 1
            self._ran(seconds)
        self._changed.set()

    def _end(self, task: Task, outcome: Outcome) -> None:
        self._ended.append((task, outcome))
        self._changed.set()
