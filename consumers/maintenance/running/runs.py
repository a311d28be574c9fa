"""The runs of one job in this process: each under the job's lock.

    room for it ──► acquire ──► function ──► release        the release also if the function raises, or is cancelled
                       └── held by somebody: skipped

A function that raises ends its run and nothing else: it is users' code.
"""

import asyncio
import contextlib
import traceback
from collections.abc import Iterator

import structlog

from consumers.durations import text
from consumers.handlers.outcomes import describe
from consumers.maintenance.declaring.declaration import Job, JobContext
from consumers.maintenance.declaring.planning import Plan
from consumers.maintenance.running.execution import Execution
from consumers.maintenance.running.locks import Lock, Locks
from consumers.watching.metrics import Metrics
from outboxkit.errors import Problem

log = structlog.get_logger()


class Runs:
    """Runs `job` as `plan` says."""

    def __init__(self, job: Job, plan: Plan, locks: Locks, execution: Execution, metrics: Metrics) -> None:
        self._job = job
        self._plan = plan
        self._locks = locks
        self._execution = execution
        self._metrics = metrics
        self._logged: set[str] = set()
        """The kinds of errors that were logged since the job last ran well."""
        self.running = False

    async def attempt(self, frequency: float, stop: asyncio.Event) -> Lock | None:
        """Run the job if nobody else does. Return the lock if somebody else has it, or None after a run."""
        async with self._execution.room(self._job):
            lock = await self._locks.acquire(self._job.name, at_most=self._plan.at_most * frequency)
            if not lock.held:
                self._metrics.job(self._job.name, "skipped")
                return lock
            if stop.is_set():  # it was due, so it is left to whoever comes next
                await self._locks.release(self._job.name, lock, at_least=0)
                return None
            try:
                with self._watched(lock, frequency):
                    await self._run(lock, frequency)
            finally:
                if not self._execution.unfinished(self._job):
                    await self._release(lock, frequency)
            return None

    async def _run(self, lock: Lock, frequency: float) -> None:
        name = self._job.name
        logger = log.bind(job=name, epoch=lock.epoch)
        try:
            await self._execution(self._job, JobContext(name, lock.epoch, lock.locked_until, logger))
        except BaseException as error:
            self._metrics.job(name, "failed")
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            self._failed(error, frequency)  # SystemExit, too, ends the run and not the consumer
        else:
            self._metrics.job(name, "ran")
            if self._logged:
                log.info("job runs again", job=name)
            self._logged.clear()

    def _failed(self, error: BaseException, frequency: float) -> None:
        kind = type(error).__qualname__
        if kind in self._logged:
            return
        self._logged.add(kind)
        again = f"it is tried again after {text(frequency)}"
        if isinstance(error, Problem):
            log.error("job failed", job=self._job.name, reason=error.what, remedy=f"{error.remedy}; {again}")
            return
        log.error(
            "job failed",
            job=self._job.name,
            reason=describe(error),
            remedy=f"correct the job; {again}",
            traceback="".join(traceback.format_exception(error)),
        )

    @contextlib.contextmanager
    def _watched(self, lock: Lock, frequency: float) -> Iterator[None]:
        """Count the lock as held, and warn when it ends before the job."""
        ends = asyncio.get_running_loop().call_later(lock.ends_at - lock.held_for, self._outlived, frequency)
        self.running = True
        with self._metrics.locks_held.track_inprogress():
            try:
                yield
            finally:
                self.running = False
                ends.cancel()

    def _outlived(self, frequency: float) -> None:
        log.warning(
            "job outlives its lock",
            job=self._job.name,
            seconds=self._plan.at_most * frequency,
            remedy="another consumer may run it now: give it a longer interval or at_most=, or let it end sooner",
        )

    async def _release(self, lock: Lock, frequency: float) -> None:
        if not await self._locks.release(self._job.name, lock, at_least=self._plan.at_least * frequency):
            log.warning(
                "job lost its lock",
                job=self._job.name,
                epoch=lock.epoch,
                remedy="it ran for longer than its lock lasts, or an operator released it: another consumer may have "
                "run it meanwhile; with the epoch, what it writes can be refused",
            )
