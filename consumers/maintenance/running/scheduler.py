"""The scheduler: one loop for each job, in every consumer. Which consumer makes a run is decided by the job's lock.

A timer waits by the loop's clock, from what the database said of the last run, whoever made it: so all consumers try at
the same moment, and a node's own clock, right or wrong, changes nothing. A job that runs over its interval begins again
at the next one; runs never pile up.
"""

import asyncio
from collections.abc import Sequence
from typing import assert_never

import structlog

from consumers.errors import JobsAbandoned
from consumers.maintenance.declaring.declaration import Job
from consumers.maintenance.declaring.planning import Plan
from consumers.maintenance.declaring.schedule import Cron, Every, until_next
from consumers.maintenance.running.execution import Execution
from consumers.maintenance.running.leadership import Leadership
from consumers.maintenance.running.locks import Locks
from consumers.maintenance.running.runs import Runs
from consumers.maintenance.running.waiting import stopped
from consumers.watching.metrics import Metrics

log = structlog.get_logger()
_STATEMENT = 2.0
"""How long a statement that is under way may take when the process ends, in seconds."""
_LONGEST_WAIT = 60.0
"""After which time the database's clock is read again, in seconds: it may have been set, or this machine suspended."""


class Scheduler:
    """Runs `jobs`, each with its plan; only while it leads, if there is a `leadership`."""

    def __init__(  # noqa: PLR0913 - its parts
        self,
        jobs: Sequence[tuple[Job, Plan]],
        locks: Locks,
        metrics: Metrics,
        *,
        threads: int,
        grace: float,
        leadership: Leadership | None = None,
    ) -> None:
        self._locks = locks
        self._execution = Execution(threads=threads)
        self._runs = {job.name: (Runs(job, plan, locks, self._execution, metrics), plan, job) for job, plan in jobs}
        self._leadership = leadership
        self._grace = grace

    @property
    def running(self) -> list[str]:
        """The jobs that run here now."""
        return [name for name, (runs, _, job) in self._runs.items() if runs.running or self._execution.unfinished(job)]

    async def run(self, stop: asyncio.Event) -> None:
        """Run jobs until `stop` is set; then start no more, and let those that run end.

        Raises JobsAbandoned when some do not end in time, and the Problem that ended a loop.
        """
        loops = {
            asyncio.create_task(self._keep(runs, plan, stop), name=name) for name, (runs, plan, _) in self._runs.items()
        }
        if self._leadership is not None:
            loops.add(asyncio.create_task(self._leadership.run(stop), name="leadership"))
        stopping = asyncio.create_task(stop.wait(), name="waiting for stop")
        try:
            # A loop that ends before is one that failed: then the process ends.
            await asyncio.wait({*loops, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            stopping.cancel()
            await self._end(loops)
        failures = [loop.exception() for loop in loops if loop.done() and not loop.cancelled()]
        for failure in failures:  # all have been seen: asyncio logs the traceback of one that nobody has seen
            if failure is not None:
                raise failure
        if self.running:
            raise JobsAbandoned(
                f"scheduled jobs were not done within {self._grace:g} s: {', '.join(sorted(self.running))}",
                remedy="another consumer runs them when their locks end; let jobs end sooner, or raise CONSUMERS_GRACE",
            )

    async def _end(self, loops: set[asyncio.Task[None]]) -> None:
        _, left = await asyncio.wait(loops, timeout=_STATEMENT)  # 1. statements under way end, and timers
        for loop in left - {each for each in left if each.get_name() in self.running}:
            loop.cancel()  # 2. what waits for the database, and runs no job, is given up
        if left:
            _, left = await asyncio.wait(left, timeout=self._grace)  # 3. jobs end, and release their locks
        for loop in left:
            loop.cancel()  # 4. what is async is cancelled, and releases its lock; a thread goes on, and keeps it
        if left:
            await asyncio.wait(left, timeout=_STATEMENT)
        self._execution.close()

    async def _keep(self, runs: Runs, plan: Plan, stop: asyncio.Event) -> None:
        if await stopped(stop, plan.initial_delay):
            return
        match plan.schedule:
            case Every(frequency):
                await self._every(frequency, runs, stop)
            case Cron() as cron:
                await self._at(cron, runs, stop)
            case _:
                assert_never(plan.schedule)

    async def _every(self, frequency: float, runs: Runs, stop: asyncio.Event) -> None:
        clock = asyncio.get_running_loop().time
        while await self._leads(stop):
            began = clock()
            other = await runs.attempt(frequency, stop)
            if other is None:
                wait = until_next(frequency, clock() - began)
            else:
                wait = until_next(frequency, other.held_for, held_until=other.ends_at)
            if await stopped(stop, wait):
                return

    async def _at(self, cron: Cron, runs: Runs, stop: asyncio.Event) -> None:
        due = await self._locks.now()
        while True:
            due = cron.after(max(due, await self._locks.now()))
            while (left := (due - await self._locks.now()).total_seconds()) > 0:
                if await stopped(stop, min(left, _LONGEST_WAIT)):
                    return
            if self._leadership is None or self._leadership.leading:
                await runs.attempt(cron.frequency(due), stop)

    async def _leads(self, stop: asyncio.Event) -> bool:
        """Wait until this consumer may run jobs; return whether it may, since it does not end."""
        if self._leadership is not None and not self._leadership.leading:
            waits = [asyncio.ensure_future(each) for each in (self._leadership.wait(), stop.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()
        return not stop.is_set()
