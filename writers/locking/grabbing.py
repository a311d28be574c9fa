"""One run: makes tasks, sends many grabs at the same moment, and looks meanwhile at what is locked."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from outboxkit.errors import Problem
from writers.locking.client import Failed, NoneLeft, Outcome, Service, Taken, Task

_LOOK_SECONDS = 0.1
_SETTLED_SECONDS = 5.0
"""How long a broken-off grab may keep its lock: until its instance, or Postgres, sees that the client has left."""
_OVERHEAD_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
    """So many `tasks` are made, and so many `requests` grab one each, on which an instance works for `seconds`."""

    tasks: int
    requests: int
    seconds: float
    skip_locked: bool = True


@dataclass(frozen=True)
class Look:
    """What one look at the pending tasks saw: how many rows were locked at that moment, and by which instances."""

    locked: int
    holders: frozenset[str]


@dataclass(frozen=True)
class Run:
    """What came of a plan. `made` and `left` are the tasks before and after it, the oldest first."""

    plan: Plan
    made: tuple[Task, ...]
    outcomes: tuple[Outcome, ...]
    total: float
    """Seconds from the first request to the last answer."""
    looks: tuple[Look, ...]
    left: tuple[Task, ...]

    @property
    def taken(self) -> list[Taken]:
        """The grabs that were answered with a task."""
        return [each for each in self.outcomes if isinstance(each, Taken)]

    @property
    def none_left(self) -> list[NoneLeft]:
        """The requests that were told that no task is left."""
        return [each for each in self.outcomes if isinstance(each, NoneLeft)]

    @property
    def failed(self) -> list[Failed]:
        """The requests that were answered with neither."""
        return [each for each in self.outcomes if isinstance(each, Failed)]

    @property
    def locked_at_once(self) -> int:
        """The most rows that one look saw locked."""
        return max((look.locked for look in self.looks), default=0)


def run(
    service: Service,
    plan: Plan,
    *,
    ended: Callable[[Outcome], None] = lambda _: None,
    looked: Callable[[Look], None] = lambda _: None,
) -> Run:
    """Carry out `plan`: `ended` is called at each answer in this thread, `looked` at each look in another.

    Raises Problem if the tasks cannot be made or read.
    """
    made = _make(service, plan.tasks)
    answers: queue.SimpleQueue[Outcome | Exception] = queue.SimpleQueue()
    sent = threading.Semaphore(0)
    start = threading.Event()
    # Without SKIP LOCKED, the last one waits for all the others.
    within = plan.seconds * plan.requests + _OVERHEAD_SECONDS

    def grab() -> None:
        once = _Once(sent.release)
        start.wait()
        try:
            answers.put(service.grab(plan.seconds, skip_locked=plan.skip_locked, answered_within=within, sent=once))
        except Exception as error:  # noqa: BLE001 - it is raised in the main thread
            answers.put(error)
        once()

    for _ in range(plan.requests):
        threading.Thread(target=grab, daemon=True).start()
    began = time.perf_counter()
    start.set()
    for _ in range(plan.requests):  # a look before would take another's turn at the balancer
        sent.acquire()
    outcomes = []
    with _Looking(service, looked) as looking:
        for _ in range(plan.requests):
            outcome = answers.get()
            if isinstance(outcome, Exception):
                raise outcome
            outcomes.append(outcome)
            ended(outcome)
    total = time.perf_counter() - began
    return Run(plan, made, tuple(outcomes), total, tuple(looking.looks), _settled(service))


def _make(service: Service, count: int) -> tuple[Task, ...]:
    held = service.reset()
    if held:
        raise Problem(
            f"{held} tasks of the demo are grabbed at this moment by somebody else",
            remedy="let that end, and run it again",
        )
    service.create(count)
    return tuple(service.tasks())


def _settled(service: Service) -> tuple[Task, ...]:
    """Return the tasks when no row is locked any more, or after a while with those that still are."""
    deadline = time.monotonic() + _SETTLED_SECONDS
    pause = threading.Event()
    while True:
        left = service.tasks()
        if time.monotonic() > deadline or not any(task.locked_by for task in left):
            return tuple(left)
        pause.wait(_LOOK_SECONDS)


class _Once:
    """Calls `action` at the first call only."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._done = False

    def __call__(self) -> None:
        if not self._done:
            self._done = True
            self._action()


class _Looking:
    """A thread that looks at the pending tasks again and again while the block runs."""

    def __init__(self, service: Service, looked: Callable[[Look], None]) -> None:
        self.looks: list[Look] = []
        self._service = service
        self._looked = looked
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            with contextlib.suppress(Problem):  # every session may be busy, which is no failure of a grab
                holders = [task.locked_by for task in self._service.tasks(status="pending")]
                names = [holder.instance for holder in holders if holder is not None]
                self.looks.append(Look(len(names), frozenset(names)))
                self._looked(self.looks[-1])
