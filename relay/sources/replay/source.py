"""A replay as a source of the engine: it reads its range once, at its own rate, and ends with it.

Where it stands is stored with its job, and nothing of the live stream is touched.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from relay.core.event import Boundary, OutboxEvent
from relay.core.position import Position
from relay.core.replay import RangeReader, Reading, ReplayPosition
from relay.sources.replay.pace import Pace

_AT_MOST = 1000
"""How many events are handed over at a time without a rate."""

Item = OutboxEvent | Boundary[ReplayPosition]


class Progress(Protocol):
    """Where a job's position is stored."""

    async def take(self) -> ReplayPosition:
        """Take the job, or keep it; return how far it is. Raises JobHeld if another process runs it."""

    async def save(self, position: ReplayPosition) -> None:
        """Store `position`; raises SourceUnavailable if it cannot be stored now, JobHeld if the job is taken."""


class ReplaySource:
    """Opens the range of a job with `reader`; calls `ended` when all of it is confirmed or parked."""

    def __init__(
        self, reader: RangeReader, progress: Progress, ended: Callable[[], None], *, rate: float | None
    ) -> None:
        self._reader = reader
        self._progress = progress
        self._ended = ended
        self._rate = rate

    @asynccontextmanager
    async def open(self, after: Position | None) -> AsyncIterator["ReplayStream"]:
        """Read on behind `after`, which this process has confirmed, or behind what is stored."""
        stored = await self._progress.take()
        start = after if isinstance(after, ReplayPosition) else stored
        async with self._reader.open(start) as reading:
            pace = None if self._rate is None else Pace(self._rate)
            yield ReplayStream(reading, start, self._progress, self._ended, pace)

    async def held(self) -> bool:
        """Return whether the job is still this process's."""
        await self._progress.take()
        return True


class ReplayStream:
    """Hands over what `reading` gives, in slices at the rate of `pace`."""

    def __init__(
        self,
        reading: Reading,
        start: ReplayPosition,
        progress: Progress,
        ended: Callable[[], None],
        pace: Pace | None,
    ) -> None:
        self.start = start
        """The position that it reads after."""
        self._reading = reading
        self._progress = progress
        self._ended = ended
        self._pace = pace
        self._waiting: deque[Item] = deque()
        self._at_end = start.complete
        if start.complete:
            ended()

    async def receive(self) -> Sequence[Item]:
        """Return the next slice; never returns behind the end."""
        while not self._waiting:
            if self._at_end:
                await asyncio.get_running_loop().create_future()
            self._waiting.extend(await self._reading.receive())
            last = self._waiting[-1]
            self._at_end = isinstance(last, Boundary) and last.position.complete
        at_most = _AT_MOST if self._pace is None else self._pace.slice
        items, events = [], 0
        while self._waiting and (events < at_most or isinstance(self._waiting[0], Boundary)):
            items.append(self._waiting.popleft())
            events += isinstance(items[-1], OutboxEvent)
        if self._pace is not None and events:
            loop = asyncio.get_running_loop()
            if (wait := self._pace.take(events, loop.time())) > 0:
                await asyncio.sleep(wait)
        return items

    def confirm(self, position: ReplayPosition) -> None:
        """Note that everything up to `position` is confirmed or parked."""
        if position.complete:
            self._ended()

    async def store(self, position: ReplayPosition) -> None:
        """Store `position` with the job, and then let the source of the range forget what is before it."""
        await self._progress.save(position)
        await self._reading.stored(position)

    async def run(self) -> None:
        """Do what the range needs beside being read, until cancelled."""
        await self._reading.run()
