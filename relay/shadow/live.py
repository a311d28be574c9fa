"""The live stream, watched: what it gives is noted for the shadow, and nothing about it changes.

A batch costs the live stream one small object for each event, and only while the shadow compares.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from relay.core.event import Boundary, OutboxEvent
from relay.core.ports import Source, Stream
from relay.core.position import Lsn, Position
from relay.shadow.comparing import AT_MOST
from relay.shadow.row import Row, rows
from relay.storage.state import Mode


class Live:
    """What one live stream of `mode` has given and the shadow has not read yet."""

    def __init__(self, mode: Mode, took: Callable[[float], None]) -> None:
        self.mode = mode
        self._took = took
        self._since: int | None = None
        """The first transaction that counts; None while nothing is noted."""
        self._given: deque[tuple[float, Sequence[Row]] | Position] = deque()
        self._count = 0
        self.too_much = False
        """Whether more was given than may be noted."""
        self.ended = asyncio.Event()

    def begin(self) -> None:
        """Note all events from now on, whichever transaction has written them, until `count_from`."""
        self._given.clear()
        self._count, self._since, self.too_much = 0, 0, False

    def count_from(self, transaction: int) -> None:
        """Note only events of `transaction`, and of later ones."""
        self._since = transaction

    def stop(self) -> None:
        """Note nothing any more."""
        self._since = None
        self._given.clear()

    def received(self, items: Sequence[OutboxEvent | Boundary[Any]]) -> None:
        """Note what the stream has given."""
        if self._since is None:
            return
        began = time.perf_counter()
        if found := rows(items, self._since):
            self._given.append((asyncio.get_running_loop().time(), found))
            self._count += len(found)
            if self._count > AT_MOST:
                self.too_much = True
                self.stop()
        self._took(time.perf_counter() - began)

    def confirmed(self, position: Position) -> None:
        """Note that everything up to `position` is confirmed."""
        if self._since is None:
            return
        if self._given and isinstance(self._given[-1], Position):
            self._given[-1] = position
        else:
            self._given.append(position)

    def next(self) -> tuple[float, Sequence[Row]] | Position | None:
        """Return the next rows with the time of their arrival, or a position; None if there is nothing now.

        It is asked now and then, and nobody is woken: a task that runs at each event would cost as much as the event.
        """
        if not self._given:
            return None
        item = self._given.popleft()
        if not isinstance(item, Position):
            self._count -= len(item[1])
        return item


class Watching(Protocol):
    """Who is told of live streams."""

    def opened(self, mode: Mode) -> Live:
        """Return what notes what the stream gives that was opened now."""

    def closed(self, live: Live) -> None:
        """Note that the stream has ended."""


class WatchedSource:
    """`source`, whose streams `watching` is told of."""

    def __init__(self, source: Source, watching: Watching) -> None:
        self._source = source
        self._watching = watching
        self.held = source.held

    def open(self, after: Position | None) -> AbstractAsyncContextManager[Stream[Any]]:
        """Open the stream, as `source` does."""
        return self._open(after)

    @asynccontextmanager
    async def _open(self, after: Position | None) -> AsyncIterator[Stream[Any]]:
        async with self._source.open(after) as stream:
            live = self._watching.opened("wal" if isinstance(stream.start, Lsn) else "polling")
            try:
                yield _Watched(stream, live)
            finally:
                self._watching.closed(live)


class _Watched:
    def __init__(self, stream: Stream[Any], live: Live) -> None:
        self._stream = stream
        self._live = live
        self.start = stream.start
        self.store = stream.store
        self.run = stream.run

    async def receive(self) -> Sequence[OutboxEvent | Boundary[Any]]:
        items = await self._stream.receive()
        self._live.received(items)
        return items

    def confirm(self, position: Position) -> None:
        self._stream.confirm(position)
        self._live.confirmed(position)
