"""Notices that this process stood still: stopped, swapped out, or its machine suspended.

A relay that wakes up after that may have been replaced meanwhile, and must not publish what it holds. It is fenced
from then until `reset`, so that whatever runs first after the wake - a confirm, a timer, the stream - sees it.
"""

import asyncio
import time
from collections.abc import Callable

from relay.core.errors import StoodStill

_BEATS_PER_LIMIT = 10


def boottime() -> float:
    """Return seconds on a clock that goes on while the machine sleeps (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Fencing:
    """Beats while the loop runs; the process is fenced when no beat came for `limit` seconds."""

    def __init__(self, limit: float, clock: Callable[[], float] = boottime) -> None:
        self._limit = limit
        self._clock = clock
        self._last = clock()
        self._fenced = False
        self._noticed = asyncio.Event()

    def fenced(self) -> bool:
        """Return whether the process has stood still for longer than the limit since `reset`."""
        if not self._fenced and self._clock() - self._last > self._limit:
            self._fenced = True
            self._noticed.set()
        return self._fenced

    def reset(self) -> None:
        """Start again: what the process held has been dropped."""
        self._fenced = False
        self._noticed.clear()
        self._last = self._clock()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            if not self.fenced():
                self._last = self._clock()
            await asyncio.sleep(self._limit / _BEATS_PER_LIMIT)

    async def noticed(self) -> None:
        """Return when the process is fenced."""
        await self._noticed.wait()

    def problem(self) -> StoodStill:
        """Return the reason that an operator reads."""
        return StoodStill(
            f"this process stood still for longer than {self._limit:g} s, and another relay may have taken its place",
            remedy="what it held is dropped and read again; look for a stopped container or a suspended machine",
        )
