"""The control "one confirm at a time": it publishes a row, waits for its confirm, marks it, and takes the next one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bench.compare.controls import rows
from relay.core.event import Boundary, OutboxEvent
from relay.core.observations import Observe, Streaming
from relay.core.position import BatchPosition, Position
from relay.sources.polling.stream import oldest
from relay.storage.sessions.session import Session

Item = OutboxEvent | Boundary[BatchPosition]


class OneConfirmStream:
    """Hands over one row at a time, numbered from `number` + 1."""

    def __init__(self, session: Session, number: int, *, interval: float, batch: int) -> None:
        self.start = BatchPosition(number)
        self.number = number
        """The row that was handed over last."""
        self._session = session
        self._interval = interval
        self._batch = batch
        self._given: asyncio.Queue[Sequence[Item]] = asyncio.Queue(maxsize=1)
        self._confirmed = asyncio.Event()

    async def receive(self) -> Sequence[Item]:
        """Return the next row."""
        return await self._given.get()

    def confirm(self, position: BatchPosition) -> None:
        """Note that the row is confirmed."""
        if position.number == self.number:
            self._confirmed.set()

    async def store(self, position: BatchPosition) -> None:
        """Do nothing: each row is marked by itself."""

    async def run(self) -> None:
        """Publish and mark until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._interval
            found = await rows.execute(self._session, "bench_control_one_confirm_read", {"batch": self._batch})
            for row in found:
                await self._publish(row)
            if len(found) < self._batch:
                await asyncio.sleep(due - loop.time())

    async def _publish(self, row: rows.Row) -> None:
        self._confirmed.clear()
        self.number += 1
        event = rows.event(row)
        await self._given.put([event, Boundary(BatchPosition(self.number), oldest([event]))])
        await self._confirmed.wait()
        await rows.execute(self._session, "bench_control_one_confirm_mark", {"seq": rows.seq(row)})


class OneConfirmSource:
    """Opens the stream of what is not marked."""

    def __init__(self, session: Session, *, interval: float, batch: int, observe: Observe) -> None:
        self._session = session
        self._interval = interval
        self._batch = batch
        self._observe = observe
        self._number = 0

    @asynccontextmanager
    async def open(self, _: Position | None) -> AsyncIterator[OneConfirmStream]:
        """Open the stream."""
        stream = OneConfirmStream(self._session, self._number, interval=self._interval, batch=self._batch)
        self._observe(Streaming("polling", stream.start, {"control": "one confirm at a time"}))
        try:
            yield stream
        finally:
            self._number = stream.number

    async def held(self) -> bool:
        """Return that nobody else reads: this control has no such question."""
        return True
