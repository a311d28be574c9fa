"""Makes load: concurrent writers that submit tasks until a count is reached or `stop` is called.

It knows neither the command line nor files: the caller passes a function that takes the committed ids.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from outboxkit.errors import Problem
from writers.committing import Session
from writers.errors import OutcomeUnknown
from writers.pace import Pace
from writers.records import NewTask

_RETRY_SECONDS = 60.0  # longer than a restart or a failover takes


@dataclass(frozen=True, slots=True)
class Plan:
    """What to submit, and how: `batch` tasks per transaction, `rate` tasks per second over all writers."""

    type: str
    count: int
    payload: object
    writers: int = 1
    batch: int = 1
    rate: float = math.inf


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a load; `unknown` tasks may exist or not, and `failure` says why it ended early."""

    committed: int
    unknown: int
    seconds: float
    failure: Problem | None

    @property
    def per_second(self) -> float:
        """Tasks committed per second."""
        return self.committed / self.seconds if self.seconds else 0.0


class Load:
    """One run of `plan` on the database at `url`; calls `committed` with the ids of a batch right after its commit."""

    def __init__(self, url: str, plan: Plan, committed: Callable[[Sequence[UUID]], None]) -> None:
        self._url = url
        self._plan = plan
        self._committed = committed
        self._left = plan.count
        self._done = 0
        self._unknown = 0
        self._failure: Problem | None = None
        self._pace = Pace(plan.rate)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Let the open transactions finish and start no more."""
        self._stop.set()

    async def run(self) -> Summary:
        """Submit until the count is reached, a failure ends it, or `stop` is called."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with asyncio.TaskGroup() as writers:
            for _ in range(self._plan.writers):
                writers.create_task(self._write())
        return Summary(self._done, self._unknown, loop.time() - started, self._failure)

    async def _write(self) -> None:
        session = Session(self._url, retry_for=_RETRY_SECONDS)
        try:
            await session.open()
            while tasks := await self._take():
                if await self._commit(session, tasks):
                    self._done += len(tasks)
                    self._committed([task.id for task in tasks])
        except Problem as problem:
            self._failure = self._failure or problem
            self.stop()
        finally:
            await session.close()

    async def _commit(self, session: Session, tasks: Sequence[NewTask]) -> bool:
        try:
            return await session.commit(tasks, wanted=lambda: not self._stop.is_set())
        except OutcomeUnknown:
            self._unknown += len(tasks)
            raise

    async def _take(self) -> list[NewTask]:
        """Wait until the next batch is due and return it; an empty one when all are taken or after `stop`."""
        size = min(self._plan.batch, self._left)
        self._left -= size
        delay = self._pace.delay(size, now=asyncio.get_running_loop().time())
        if delay > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay)
        if self._stop.is_set():
            return []
        return [NewTask(self._plan.type, self._plan.payload) for _ in range(size)]
