"""Handler threads, as the loop sees them: a limited number of tasks run, and outcomes come in batches.

Threads take tasks from one queue and leave outcomes in another. The loop is woken once for all outcomes that are there
when it looks: a handler that does nothing costs some microseconds, and not a future and a system call.

A thread cannot be ended from outside. One whose task has passed its deadline is given up: its task has failed, another
thread takes its place, and it ends by itself when its handler does.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue

import structlog

from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Failed, Outcome, describe
from consumers.handlers.running.finished import Finished, Run
from consumers.handlers.running.runs import Runs

log = structlog.get_logger()


class Threads:
    """Runs tasks through `execute` in `concurrency` threads; made and used in the loop's own thread.

    The threads are started when there is work for them, and do not keep the process alive.
    """

    def __init__(self, execute: Callable[[Task], Outcome], finished: Finished, *, concurrency: int) -> None:
        self._execute = execute
        self._finished = finished
        self._concurrency = concurrency
        self._loop = asyncio.get_running_loop()
        self.late = 0
        """How many handlers have ended after their thread was given up."""
        self._made = 0
        self._threads: set[threading.Thread] = set()
        self._given_up: set[threading.Thread] = set()
        self._runs: Runs[threading.Thread] = Runs()
        self._started = 0
        """How many tasks have no outcome yet."""
        self._waiting: SimpleQueue[Task | None] = SimpleQueue()
        self._taken_at = 0.0
        """When a thread has taken a task last, or the first one began to wait."""
        self._done: deque[Run] = deque()
        """What threads have left and the loop has not taken."""
        self._woken = False
        """Whether the loop will look at `_done`."""

    @property
    def active(self) -> int:
        """How many handlers run."""
        return len(self._runs)

    @property
    def waiting(self) -> int:
        """How many tasks wait for a thread."""
        return self._waiting.qsize()

    @property
    def idle(self) -> int:
        """How many threads wait for a task."""
        return len(self._threads) - len(self._runs)

    @property
    def stuck(self) -> bool:
        """Whether so many threads were given up that none takes their place any more."""
        return len(self._given_up) > self._concurrency

    def start(self, tasks: Iterable[Task]) -> None:
        """Run `tasks` as soon as threads are free."""
        if self._waiting.empty():
            self._taken_at = time.perf_counter()
        for task in tasks:
            self._started += 1
            self._finished.begin()
            self._waiting.put(task)
        self._man()

    def stalled(self) -> float:
        """Return for how many seconds tasks have waited and no thread was free for one."""
        return 0.0 if self._waiting.empty() else time.perf_counter() - self._taken_at

    def withdraw(self) -> Iterator[Task]:
        """Yield the tasks that wait for a thread: they will not run, and whoever withdraws them says how they end."""
        with suppress(Empty):
            while (task := self._waiting.get_nowait()) is not None:
                self._started -= 1
                yield task
            self._waiting.put(None)  # `close` has put it there, to end a thread

    def left(self) -> list[Run]:
        """Return the outcomes that threads have left and the loop has not taken; they stay."""
        return list(self._done)

    def overdue(self) -> Iterator[tuple[Task, str]]:
        """Give up threads whose task has passed its deadline; yield the tasks and the threads' names."""
        for task, thread in self._runs.overdue():
            self._started -= 1
            self._threads.discard(thread)
            self._given_up.add(thread)
            yield task, thread.name
        self._man()

    def close(self) -> None:
        """End the threads: no more tasks will be started."""
        for _ in self._threads:
            self._waiting.put(None)

    def _man(self) -> None:
        """Make threads for what is started, except for those that were given up in too great a number."""
        while len(self._threads) < min(self._concurrency, self._started) and not self.stuck:
            self._made += 1
            thread = threading.Thread(target=self._work, name=f"handler_{self._made}", daemon=True)
            self._threads.add(thread)
            thread.start()

    def _work(self) -> None:
        thread = threading.current_thread()
        while (task := self._waiting.get()) is not None:
            begun = self._taken_at = time.perf_counter()
            self._runs.begin(task, thread)
            try:
                outcome = self._execute(task)
            except BaseException as error:  # noqa: BLE001 - `execute` should not raise; if it does, no task may be lost
                outcome = Failed(describe(error), again_after=1.0)
            if not self._runs.end(task):
                self._tell(self._came_late, thread, task)
                return
            self._done.append(Run(task, outcome, time.perf_counter() - begun))
            if not self._woken:
                self._woken = True
                self._tell(self._collect)

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has ended: the handler was abandoned
            self._loop.call_soon_threadsafe(call, *arguments)

    def _collect(self) -> None:
        self._woken = False  # before it looks: a thread that sees it true later has left its outcome before
        while self._done:
            self._started -= 1
            self._finished.end(*self._done[0])
            self._done.popleft()  # after that, so that `left` of one or the other has it at each moment

    def _came_late(self, thread: threading.Thread, task: Task) -> None:
        self.late += 1
        self._given_up.discard(thread)
        log.warning(
            "a handler ended long after its deadline; nothing of it was applied",
            task=task.claim.task_id,
            type=task.type,
        )
        self._man()
