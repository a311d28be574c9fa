"""The control "last id": it reads the rows whose number is greater than the last one that it has read.

Numbers are drawn when rows are inserted, and seen when their transactions commit. A row that commits after one with a
greater number is passed over for ever.
"""

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


class LastIdStream:
    """Hands over batch after batch; `seqs` has the last number of each, by the batch's own."""

    def __init__(
        self, reading: Session, storing: Session, seqs: dict[int, int], *, interval: float, batch: int
    ) -> None:
        self.start = BatchPosition(max(seqs))
        self._reading = reading
        self._storing = storing
        self._seqs = seqs
        self._interval = interval
        self._batch = batch
        self._given: asyncio.Queue[Sequence[Item]] = asyncio.Queue(maxsize=1)

    async def receive(self) -> Sequence[Item]:
        """Return the next batch."""
        return await self._given.get()

    def confirm(self, position: BatchPosition) -> None:
        """Do nothing: the number is stored by `store`."""

    async def store(self, position: BatchPosition) -> None:
        """Store the last number of the batch at `position`."""
        await rows.execute(self._storing, "bench_control_last_id_store", {"seq": self._seqs[position.number]})
        for number in [number for number in self._seqs if number < position.number]:
            del self._seqs[number]

    async def run(self) -> None:
        """Poll until cancelled."""
        number = self.start.number
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._interval
            asked = {"seq": self._seqs[number], "batch": self._batch}
            found = await rows.execute(self._reading, "bench_control_last_id_read", asked)
            if found:
                self._seqs[number + 1] = rows.seq(found[-1])
                number += 1
                events = [rows.event(row) for row in found]
                await self._given.put([*events, Boundary(BatchPosition(number), oldest(events))])
            if len(found) < self._batch:
                await asyncio.sleep(due - loop.time())


class LastIdSource:
    """Opens the stream at the stored number, or behind the last batch that was confirmed."""

    def __init__(self, reading: Session, storing: Session, *, interval: float, batch: int, observe: Observe) -> None:
        self._reading = reading
        self._storing = storing
        self._interval = interval
        self._batch = batch
        self._observe = observe
        self._seqs: dict[int, int] = {}

    @asynccontextmanager
    async def open(self, after: Position | None) -> AsyncIterator[LastIdStream]:
        """Open the stream."""
        if isinstance(after, BatchPosition):
            seqs = {after.number: self._seqs[after.number]}
        else:
            ((last,),) = await rows.execute(self._storing, "bench_control_last_id_get", {})
            seqs = {0: int(last or 0)}
        self._seqs = seqs
        stream = LastIdStream(self._reading, self._storing, seqs, interval=self._interval, batch=self._batch)
        self._observe(Streaming("polling", stream.start, {"control": "last id"}))
        yield stream

    async def held(self) -> bool:
        """Return that nobody else reads: this control has no such question."""
        return True
