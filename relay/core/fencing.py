"""Notices that this process stood still: stopped, swapped out, or its machine suspended.

A relay that wakes up after that may have been replaced meanwhile, and must not publish what it holds. Once late, it
stays late until `reset`, so that whatever runs first after the wake - a confirm, a timer, the stream - sees it.
"""

import asyncio
import time
from collections.abc import Callable

_BEATS_PER_LIMIT = 10


def boottime() -> float:
    """Return seconds on a clock that goes on while the machine sleeps (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Fencing:
    """Beats while the loop runs; `limit` is in seconds."""

    def __init__(self, limit: float, clock: Callable[[], float] = boottime) -> None:
        self._limit = limit
        self._clock = clock
        self._last = clock()
        self._late = False
        self._noticed = asyncio.Event()

    def fenced(self) -> bool:
        """Tell whether the process has stood still for longer than the limit since `reset`."""
        if not self._late and self._clock() - self._last > self._limit:
            self._late = True
            self._noticed.set()
        return self._late

    def reset(self) -> None:
        """Start again: what was held has been dropped."""
        self._late = False
        self._noticed.clear()
        self._last = self._clock()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            if not self.fenced():
                self._last = self._clock()
            await asyncio.sleep(self._limit / _BEATS_PER_LIMIT)

    async def noticed(self) -> None:
        """Return when the process is late."""
        await self._noticed.wait()
