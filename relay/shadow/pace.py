"""How much of the loop's time the shadow takes: a small share, measured and kept.

The time of a coroutine is that of its steps, from each resumption to its next wait. A backlog makes the shadow
late, and not the live stream slow.
"""

import asyncio
import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

SHARE = 0.05
"""The part of the loop's time that it may take."""
_SAVED = 0.01
"""Seconds that it may have saved up: as long as it works in one go."""

Result = TypeVar("Result")


class Pace:
    """Measures what `metered` coroutines take, and lets them `rest` until that is no more than `share` of the time."""

    def __init__(self, share: float = SHARE, clock: Callable[[], float] = time.perf_counter) -> None:
        self._share = share
        self._clock = clock
        self._saved = 0.0
        self._looked = clock()
        self.taken = 0.0
        """Seconds in all."""

    def took(self, seconds: float) -> None:
        """Count `seconds` that were taken."""
        self.taken += seconds
        self._saved -= seconds

    def due(self) -> float:
        """Return for how many seconds there must be a rest now."""
        now = self._clock()
        self._saved = min(_SAVED, self._saved + (now - self._looked) * self._share)
        self._looked = now
        return max(0.0, -self._saved / self._share)

    async def rest(self) -> None:
        """Let others work: until the next turn of the loop, or longer if too much time was taken."""
        await asyncio.sleep(self.due())

    async def metered(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do `work`, and count the time of its steps."""
        return await self._metered(work)

    @types.coroutine
    def _metered(self, work: Coroutine[Any, Any, Result]) -> Generator[Any, Any, Result]:
        step: Callable[[], Any] = lambda: work.send(None)  # noqa: E731 - the next step is another one
        while True:
            began = self._clock()
            try:
                waits_for = step()
            except StopIteration as end:
                result: Result = end.value
                return result
            finally:
                self.took(self._clock() - began)
            try:
                answer = yield waits_for
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - it is the work's
                step = _throws(work, error)
            else:
                step = _sends(work, answer)


def _throws(work: Coroutine[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: work.throw(error)


def _sends(work: Coroutine[Any, Any, Any], answer: object) -> Callable[[], Any]:
    return lambda: work.send(answer)
