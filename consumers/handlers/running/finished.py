"""Outcomes on their way from handlers to the loop that writes them, in batches. Used in the loop's own thread only."""

import asyncio
from typing import NamedTuple

from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Outcome


class Run(NamedTuple):
    """A task, how it ended, and for how many seconds its handler ran."""

    task: Task
    outcome: Outcome
    seconds: float


class Finished:
    """Each task that has begun ends once."""

    def __init__(self) -> None:
        self._open = 0
        self._runs: list[Run] = []
        self._changed = asyncio.Event()
        self._closed = False

    def begin(self) -> None:
        """Expect the outcome of one more task."""
        self._open += 1

    def end(self, task: Task, outcome: Outcome, seconds: float = 0.0) -> None:
        """Take the outcome of a task that has begun."""
        self._open -= 1
        self._runs.append(Run(task, outcome, seconds))
        self._changed.set()

    def close(self) -> None:
        """Begin no more."""
        self._closed = True
        self._changed.set()

    async def get(self) -> list[Run]:
        """Wait for outcomes and return all that have arrived; none when it is closed and all have been returned."""
        while not self._runs and not (self._closed and not self._open):
            self._changed.clear()
            await self._changed.wait()
        return self.left()

    def left(self) -> list[Run]:
        """Return all that have arrived."""
        runs, self._runs = self._runs, []
        return runs
