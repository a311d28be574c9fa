"""Notices that this process stood still: stopped, swapped out, or its machine suspended.

A relay that wakes up may have been replaced meanwhile, and must not publish what it holds then. The rule: after every
standstill longer than STANDSTILL nothing leaves until the source has answered whether this process still has it; the
question is asked after the standstill. If the answer is yes, the process had the source all the time, and goes on. If
it is no, or none comes, or the stream has ended, what is held is dropped and read again; the process is fenced until
`reset`.

So the rule does not depend on how long the source waits for a silent process before it lets another one in. That is
Postgres' wal_sender_timeout, which may change at any time; it must be longer than STANDSTILL and the time between two
signs of life together. Not closed: a stop between the look at the clock and the system call lets one write out.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from outboxkit.errors import Problem
from relay.core.errors import StoodStill

STANDSTILL = 0.5
"""Seconds."""
_BEATS = 5
_ANSWER_WITHIN = 5.0
_ASK_AGAIN_AFTER = 0.1


def boottime() -> float:
    """Return seconds on a clock that goes on while the machine sleeps (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Fencing:
    """Looks at the clock whenever something runs; `limit` seconds without that are a standstill."""

    def __init__(self, limit: float = STANDSTILL, clock: Callable[[], float] = boottime) -> None:
        self._limit = limit
        self._clock = clock
        self._last = clock()
        self._standstills = 0
        self._proved = 0
        """After so many standstills it was certain that the source is still this process's."""
        self._fenced = False
        self._in_doubt = asyncio.Event()
        self._noticed = asyncio.Event()

    def holds(self) -> bool:
        """Return whether nothing may be published now: another process may have taken this one's place."""
        now = self._clock()
        if now - self._last > self._limit:
            self._standstills += 1
            self._in_doubt.set()
        self._last = now
        return self._fenced or self._proved < self._standstills

    def standstills(self) -> int:
        """Return how many standstills there have been."""
        self.holds()
        return self._standstills

    def doubt(self, standstills: int) -> None:
        """Ask about a stream that was not open after the first `standstills`, if there were more since."""
        if self.standstills() > standstills:
            self._standstills += 1
            self._in_doubt.set()

    def fenced(self) -> bool:
        """Return whether what this process holds must be dropped."""
        return self._fenced

    def reset(self) -> None:
        """Start again: what the process held has been dropped."""
        self.holds()
        self._fenced = False
        self._noticed.clear()
        self._settle()

    async def run(self) -> None:
        """Look at the clock regularly, until cancelled."""
        while True:
            self.holds()
            await asyncio.sleep(self._limit / _BEATS)

    async def prove(self, ours: Callable[[], Awaitable[bool]]) -> None:
        """Ask after each standstill, until cancelled, whether the source is still this process's."""
        while True:
            await self._in_doubt.wait()
            asked_after = self._standstills
            answer = await _answer(ours)
            if not self.holds():
                continue  # it was reset meanwhile
            if not answer:
                self._in_doubt.clear()
                self._fenced = True
                self._noticed.set()
            elif asked_after == self._standstills:  # otherwise the answer may be older than the last standstill
                self._settle()

    async def noticed(self) -> None:
        """Return when the process is fenced."""
        await self._noticed.wait()

    def problem(self) -> StoodStill:
        """Return the reason that an operator reads."""
        return StoodStill(
            "this process stood still, and another relay may have taken its place",
            remedy="what it held is dropped and read again; look for a stopped container or a suspended machine",
        )

    def _settle(self) -> None:
        self._proved = self._standstills
        self._in_doubt.clear()


async def _answer(ours: Callable[[], Awaitable[bool]]) -> bool:
    """Return what `ours` says; an error is no answer, so it is asked again for a while."""
    try:
        async with asyncio.timeout(_ANSWER_WITHIN):
            while True:
                try:
                    return await ours()
                except Problem:
                    await asyncio.sleep(_ASK_AGAIN_AFTER)
    except TimeoutError:
        return False
