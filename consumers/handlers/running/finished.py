"""Outcomes on their way from handlers to the loop that writes them, in batches. Used in the loop's own thread only."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Outcome
from outboxkit.amqp.format import TaskReference


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
        self._returned: list[Run] = []
        """What `get` has returned last."""
        self._put_off: dict[TaskReference, Run] = {}
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

    def put_off(self, runs: list[Run], seconds: float) -> None:
        """Take back outcomes that could not be written, and return them again after `seconds`."""
        if not runs:
            return
        put_off = {run.task.claim: run for run in runs}
        self._put_off |= put_off
        asyncio.get_running_loop().call_later(seconds, self._again, put_off.keys())

    def close(self) -> None:
        """Begin no more."""
        self._closed = True
        self._changed.set()

    async def get(self) -> list[Run]:
        """Wait for outcomes and return all that have arrived; none when it is closed and all have been returned."""
        self._returned = []
        while not self._runs and not (self._closed and not self._open and not self._put_off):
            self._changed.clear()
            await self._changed.wait()
        self._returned = self._runs
        self._runs = []
        return self._returned

    def left(self) -> list[Run]:
        """Return all that have arrived, except what was returned before the last `get`; they stay.

        A signal may call this between any two instructions, so each outcome is added to its next list before it is
        removed from the last one, and may be returned twice.
        """
        return [*self._returned, *self._runs, *self._put_off.values()]

    def _again(self, claims: Iterable[TaskReference]) -> None:
        runs = [self._put_off[claim] for claim in claims if claim in self._put_off]
        self._runs += runs
        for run in runs:
            del self._put_off[run.task.claim]
        self._changed.set()
