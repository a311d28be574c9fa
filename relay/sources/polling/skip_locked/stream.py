"""One open stream of a table that pollers share: batch after batch, each in a transaction of its own (batches.py)."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from outboxkit.errors import Problem
from relay.core.event import Boundary, OutboxEvent
from relay.core.lifetime.attempts import Attempts
from relay.core.lifetime.supervisor import Supervisor
from relay.core.observations import CaughtUp, Observe
from relay.core.position import BatchPosition
from relay.sources.polling.rows import now
from relay.sources.polling.skip_locked.batches import Ended, Locked
from relay.sources.polling.stream import oldest
from relay.sources.reader import Reader

_PLACES = 2**31

Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Tidying:
    """When marks are removed that are not needed; `remove` does it."""

    remove: Work
    every: float
    """Seconds, while something is published."""
    idle_every: float
    after: int
    """Batches, if that is sooner: a poll reads past the rows that are marked."""


class Taking(Protocol):
    """Locks, marks, and commits."""

    async def next(self, publish: Callable[[Sequence[Locked]], asyncio.Future[None]]) -> Ended:
        """Lock a batch, hand it to `publish`, and mark it when that is done; roll back if that is cancelled."""


class SkipLockedStream:
    """Hands over a batch at a time, numbered from `number` + 1, at the latest `interval` seconds after an empty one.

    `beside` runs beside it, each under its name.
    """

    def __init__(  # noqa: PLR0913 - made in one place, by the source
        self,
        batches: Taking,
        reader: Reader,
        *,
        number: int,
        interval: float,
        tidying: Tidying | None,
        beside: Mapping[str, Work],
        observe: Observe,
    ) -> None:
        self._batches = batches
        self._reader = reader
        self._interval = interval
        self._tidying = tidying
        self._beside = beside
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self.start = BatchPosition(number)
        self.number = number
        """The batch that was handed over last."""
        self._given: asyncio.Queue[Sequence[OutboxEvent | Boundary[BatchPosition]]] = asyncio.Queue()
        self._confirmed: asyncio.Future[None] | None = None
        """Done when the batch is confirmed, cancelled when the stream ends before."""
        self._released = False
        self._marked = number
        self._changed = asyncio.Condition()
        self._woken = asyncio.Event()
        self._many = asyncio.Event()
        self._untidied = 0
        """Batches that were marked since marks were removed."""

    async def receive(self) -> Sequence[OutboxEvent | Boundary[BatchPosition]]:
        """Return the rows of the next batch as events, and its boundary."""
        return await self._given.get()

    def confirm(self, position: BatchPosition) -> None:
        """Note that the batch is confirmed: it is marked now."""
        if position.number == self.number and self._confirmed is not None and not self._confirmed.done():
            self._confirmed.set_result(None)

    async def store(self, position: BatchPosition) -> None:
        """Return when every batch up to `position`, which is confirmed, is marked as published."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._marked >= position.number)

    def wake(self) -> None:
        """Poll at once."""
        self._woken.set()

    async def run(self) -> None:
        """Take batches, until cancelled; raises what ends the stream."""
        async with Supervisor(self._observe) as tasks:
            tasks.start("batches", self._take())
            if self._tidying is not None:
                tasks.start("marks", self._tidy(self._tidying))
            for name, work in self._beside.items():
                tasks.start(name, work())
            try:
                await tasks.failure
            finally:
                self.release()

    def release(self) -> None:
        """Let go of the rows that are not confirmed, and take no more: their transaction is rolled back."""
        self._released = True
        if self._confirmed is not None:
            self._confirmed.cancel()

    async def _take(self) -> None:
        while True:
            self._woken.clear()
            began = self._loop.time()
            ended = await self._batches.next(self._publish)
            if ended.published:
                async with self._changed:
                    self._marked = self.number
                    self._changed.notify_all()
                self._untidied += 1
                if self._tidying is not None and self._untidied >= self._tidying.after:
                    self._many.set()
            if ended.caught_up:
                self._observe(CaughtUp(began))
            if not ended.again:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(began + self._interval):
                        await self._woken.wait()

    def _publish(self, rows: Sequence[Locked]) -> asyncio.Future[None]:
        self._confirmed = self._loop.create_future()
        if self._released:
            self._confirmed.cancel()
            return self._confirmed
        events = [self._event(row) for row in rows]
        self.number += 1
        self._given.put_nowait([*events, Boundary(BatchPosition(self.number), oldest(events))])
        return self._confirmed

    def _event(self, row: Locked) -> OutboxEvent:
        """Return the event of `row`; its place tells it from others of its transaction, whichever batch has it."""
        place = int(row.key) % _PLACES if row.key.isdecimal() and row.key.isascii() else 1
        texts = [None if value is None else value.decode() for value in row.values]
        return self._reader.event(texts, now, row.tx, place)

    async def _tidy(self, tidying: Tidying) -> None:
        attempts = Attempts("marks", self._observe)
        since = self._loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(tidying.every):
                    await self._many.wait()
            self._many.clear()
            if not self._untidied and self._loop.time() - since < tidying.idle_every:
                continue
            since, self._untidied = self._loop.time(), 0
            try:
                await tidying.remove()
            except Problem as problem:
                attempts.failed(problem)
            else:
                attempts.succeeded()
