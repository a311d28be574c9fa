"""The lease of the one consumer that runs the jobs, with CONSUMERS_SCHEDULER=leader.

It is a lock as those of the jobs, kept extended while its holder lives. Here it ends before it ends in the database,
since it is counted from before the statement was sent. The jobs of a leader take their own locks too, so a change of
leaders makes no job run early or twice.
"""

import asyncio

import structlog

from consumers.maintenance.declaring.registry import LEADER
from consumers.maintenance.running.locks import Lock, Locks
from consumers.maintenance.running.waiting import stopped
from consumers.watching.metrics import Metrics

log = structlog.get_logger()
_TIMES_PER_LEASE = 3


class Leadership:
    """Whether this consumer leads; a leader that died is replaced after `lease` seconds."""

    def __init__(self, locks: Locks, metrics: Metrics, *, lease: float) -> None:
        self._locks = locks
        self._metrics = metrics
        self._lease = lease
        self._lock: Lock | None = None
        self._until = 0.0
        self._leads = asyncio.Event()
        self._end: asyncio.TimerHandle | None = None

    @property
    def leading(self) -> bool:
        """Whether this consumer leads at this moment."""
        return self._leads.is_set() and asyncio.get_running_loop().time() < self._until

    async def wait(self) -> None:
        """Return when this consumer leads."""
        while not self.leading:
            await self._leads.wait()

    async def run(self, stop: asyncio.Event) -> None:
        """Lead while nobody else does, until `stop` is set; then let another consumer lead at once."""
        wait = 0.0
        while not await stopped(stop, wait):
            wait = await self._renew()
        self._lost()
        if self._lock is not None:
            await self._locks.release(LEADER, self._lock, at_least=0)

    async def _renew(self) -> float:
        """Take the lease, or extend it; return after how many seconds to do so again."""
        sent, again = asyncio.get_running_loop().time(), self._lease / _TIMES_PER_LEASE
        if self._lock is not None and await self._locks.extend(LEADER, self._lock, at_most=self._lease):
            self._lead(sent + self._lease)
            return again
        if self._lock is not None:
            self._lock = None
            self._lost()
        lock = await self._locks.acquire(LEADER, at_most=self._lease)
        if not lock.held:
            return min(again, max(lock.ends_at - lock.held_for, 0.0))
        self._lock = lock
        self._lead(sent + self._lease)
        return again

    def _lead(self, until: float) -> None:
        if not self._leads.is_set():
            self._metrics.locks_held.inc()
            log.info("leading the scheduled jobs")
        self._until = until
        self._leads.set()
        if self._end is not None:
            self._end.cancel()
        self._end = asyncio.get_running_loop().call_at(until, self._lost)

    def _lost(self) -> None:
        if self._end is not None:
            self._end.cancel()
        if self._leads.is_set():
            self._metrics.locks_held.dec()
            log.info("no longer leading the scheduled jobs")
        self._leads.clear()
