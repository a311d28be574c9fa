"""Events that the publisher has rejected, from then until they are parked.

They hold back the position: only an event that is stored in the parking is settled. So the parking is tried again after
every error, also after one that an operator must lift, such as a constraint that somebody has added.
"""

import asyncio
from collections.abc import Callable, Sequence

from outboxkit.backoff import Backoff
from outboxkit.errors import Problem
from relay.core.lifetime.attempts import Attempts
from relay.core.observations import Observe, Parked
from relay.core.ports import Parking, Rejection
from relay.core.position import Position

# How many rejected events, and how many bytes of them, may wait to be parked before nothing more is read.
_AT_MOST = 1000
_AT_MOST_BYTES = 32 << 20


class Rejections:
    """A queue of rejected events before `parking`."""

    def __init__(self, parking: Parking, observe: Observe, *, retry_every: float) -> None:
        self._parking = parking
        self._observe = observe
        self._attempts = Attempts("parked events", observe)
        self._backoff = Backoff(cap=retry_every)
        self._waiting: list[Rejection] = []
        self._arrived = asyncio.Event()
        self._parked = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, rejections: Sequence[Rejection]) -> None:
        """Put `rejections` at the end."""
        self._waiting += rejections
        self._arrived.set()

    def clear(self) -> None:
        """Drop what waits; it is not parked, unless its parking has begun."""
        self._waiting.clear()
        self._parked.set()

    async def room(self) -> None:
        """Return when few enough wait."""
        while self._full():
            await _cleared(self._parked)

    async def empty(self) -> None:
        """Return when none waits."""
        while self._waiting:
            await _cleared(self._parked)

    async def run(self, position: Callable[[], Position | None], settle: Callable[[Sequence[Rejection]], None]) -> None:
        """Park what arrives, and then `settle` it, until cancelled; retries for as long as it takes.

        `position` gives a position after which a stream delivers everything that waits again.
        """
        while True:
            await _cleared(self._arrived)
            while batch := list(self._waiting):
                try:
                    await self._parking.park(batch, after=position())
                except Problem as problem:
                    self._attempts.failed(problem)
                    await asyncio.sleep(self._backoff.next_delay())
                    continue
                self._backoff.reset()
                self._attempts.succeeded()
                if self._waiting[: len(batch)] != batch:
                    continue  # they were dropped meanwhile, and come again; parking an event twice stores it once
                del self._waiting[: len(batch)]
                self._observe(Parked([r.parcel.event.id for r in batch], [r.reason for r in batch]))
                settle(batch)
                self._parked.set()

    def _full(self) -> bool:
        size = sum([len(rejection.parcel.event.payload) for rejection in self._waiting])
        return len(self._waiting) > _AT_MOST or size > _AT_MOST_BYTES


async def _cleared(event: asyncio.Event) -> None:
    """Wait for `event` to be set, and clear it."""
    await event.wait()
    event.clear()
