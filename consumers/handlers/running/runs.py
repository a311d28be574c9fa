"""Runs of handlers that are under way: whoever ends one first decides its outcome. Safe to use from any thread."""

import time
from collections.abc import Iterator
from typing import Generic, TypeVar

from consumers.handlers.declaring.task import Task

H = TypeVar("H")


class Runs(Generic[H]):
    """Runs by their task; with each goes what runs it: a thread, or a task of the loop."""

    def __init__(self) -> None:
        self._runs: dict[int, tuple[Task, H]] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._runs)

    def begin(self, task: Task, holder: H) -> None:
        """Take note that `holder` runs `task`."""
        self._runs[id(task)] = (task, holder)

    def end(self, task: Task) -> bool:
        """End the run; False if somebody else has ended it: then its outcome is decided."""
        # The removal from a dictionary is atomic.
        return self._runs.pop(id(task), None) is not None

    def holders(self) -> set[H]:
        """Return what runs the tasks now."""
        return {holder for _, holder in self._runs.values()}

    def overdue(self) -> Iterator[tuple[Task, H]]:
        """End each run whose deadline has passed, and yield it; its task is told to stop."""
        now = time.monotonic()
        for task, holder in list(self._runs.values()):
            if task.deadline is not None and task.deadline < now and self.end(task):
                task.stopping = True
                yield task, holder
