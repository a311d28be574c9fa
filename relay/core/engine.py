"""The loop: source → route → publish → ledger → checkpoint.

    stream.receive() ──► router ──► publisher.publish()   waits while the window is full: nothing more is read
                                          │
    stream.confirm() ◄── ledger ◄── outcomes              the slot moves to the ledger's low-water mark, and no further
                            ▲              │
                            └── parking ◄──┘              what cannot be published is settled once it is stored

The publisher keeps its own connection: while the broker is away, the stream stays open and unread, for a while. When
the stream breaks, what is in flight settles first; then the next one opens after the ledger's position. Only a
transaction that was cut in its middle is published twice in part, and a stop does not cut: it reads the open one to
its end.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from outboxkit.backoff import Backoff
from outboxkit.errors import Problem
from relay.core.errors import SlotHeld, SlotReleased, SourceUnavailable, StoodStill
from relay.core.event import OutboxEvent
from relay.core.fencing import Fencing
from relay.core.ledger import Ledger, Stretch
from relay.core.observations import NotDrained, NotStored, Observe, Parked, Settled, SourceLost, Standby, Stopped
from relay.core.ports import Parcel, Parking, Publisher, Rejection, Source, Stream
from relay.core.position import Lsn
from relay.core.routing import Router

# The stored checkpoint may lag behind the slot by this much: it matters only after a crash of Postgres.
_STORE_EVERY = 1.0
# Storing writes WAL itself, so an idle relay stores seldom.
_STORE_IDLE_EVERY = 10
_DRAIN_SECONDS = 15.0
# How long a stop waits for the end of the transaction that is being read.
_END_OF_TRANSACTION_SECONDS = 5.0
# A standby takes over this soon after the slot is free.
_RETRY_AT_LEAST_EVERY = 2.0
# How many rejected events, and how many bytes of them, may wait to be parked before nothing more is read.
_REJECTIONS = 1000
_REJECTED_BYTES = 32 << 20


class Engine:
    """Moves events from `source` to the publisher until told to stop, and loses none."""

    def __init__(  # noqa: PLR0913 - made in one place, by the composition root
        self,
        source: Source,
        router: Router,
        publisher: Publisher,
        parking: Parking,
        *,
        fencing: Fencing,
        observe: Observe,
        release_slot_after: float,
    ) -> None:
        self._source = source
        self._router = router
        self._publisher = publisher
        self._publisher.notify(self)
        self._parking = parking
        self._fencing = fencing
        self._observe = observe
        self._release_slot_after = release_slot_after
        self._backoff = Backoff(cap=_RETRY_AT_LEAST_EVERY)
        self._ledger = Ledger()
        self._stream: Stream | None = None
        self._halfway = False
        self._position: Lsn | None = None
        self._confirmed = 0
        self._rejections: list[Rejection] = []
        self._rejected = asyncio.Event()
        self._parked = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` is set, then drain; raises a Problem that trying again cannot help."""
        stopping = asyncio.create_task(stop.wait())
        lasting = [asyncio.create_task(work) for work in (self._publisher.run(), self._park(), self._fencing.run())]
        try:
            while not stop.is_set():
                try:
                    async with self._source.open(self._position) as stream:
                        self._backoff.reset()
                        await self._relay(stream, stopping, *lasting)
                except SourceUnavailable as problem:
                    await self._recover(problem, stopping, *lasting)
        finally:
            for task in (stopping, *lasting):
                task.cancel()
            await asyncio.gather(stopping, *lasting, return_exceptions=True)
            self._observe(Stopped(self._confirmed, self._position))

    # Outcomes: told by the publisher.

    def confirmed(self, parcels: Sequence[Parcel]) -> None:
        """Settle what the broker has taken."""
        self._confirmed += len(parcels)
        self._settled(self._ledger.settle([parcel.stretch for parcel in parcels]))
        self._advance()

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """Hand over to parking what cannot be published; it is settled when it is stored."""
        self._rejections += rejections
        self._rejected.set()

    # One stream.

    async def _relay(self, stream: Stream, stopping: asyncio.Task[Any], *lasting: asyncio.Task[Any]) -> None:
        self._ledger, self._stream, self._halfway = Ledger(), stream, False
        pump = asyncio.create_task(self._pump(stream, stopping))
        watching = [
            asyncio.create_task(watch) for watch in (self._store(stream), self._released(), self._stood_still())
        ]
        try:
            await _first([pump, stopping, *watching, *lasting])
            if self._halfway:  # half a transaction is below no boundary: the next run would publish it again
                await _first([pump, *watching, *lasting], timeout=_END_OF_TRANSACTION_SECONDS)
            pump.cancel()  # what comes from here on belongs to the next run
            await self._drain(stream, *watching, *lasting)
        except SourceUnavailable:
            raise  # there is nobody to report to; what is in flight settles before the next stream opens
        except Problem:
            await self._drain(stream, *watching, *(task for task in lasting if not task.done()))
            raise
        finally:
            for task in (pump, *watching):
                task.cancel()
            await asyncio.gather(pump, *watching, return_exceptions=True)
            self._stream = None

    async def _pump(self, stream: Stream, stopping: asyncio.Task[Any]) -> None:
        while self._halfway or not stopping.done():
            items = await stream.receive()
            if self._fencing.fenced():
                return  # _stood_still says what follows
            parcels: list[Parcel] = []
            settled: list[Stretch] = []
            ledger, route, now = self._ledger, self._router.route, time.time()
            for item in items:
                if isinstance(item, OutboxEvent):
                    parcels.append(Parcel(ledger.enter(), item, route(item)))
                else:
                    settled += ledger.boundary(item, received_at=now)
                    if stopping.done():
                        break  # what came behind it was not published, and comes again
            self._halfway = isinstance(item, OutboxEvent)
            self._settled(settled)
            if parcels:
                await self._publisher.publish(parcels)
            self._advance()
            while self._much_is_rejected():
                await _cleared(self._parked)

    def _much_is_rejected(self) -> bool:
        size = sum([len(rejection.parcel.event.payload) for rejection in self._rejections])
        return len(self._rejections) > _REJECTIONS or size > _REJECTED_BYTES

    def _advance(self) -> None:
        position = self._ledger.position
        if position is not None and position != self._position:
            self._position = position
            if self._stream is not None:
                self._stream.confirm(position)

    def _settled(self, stretches: Sequence[Stretch]) -> None:
        committed_at, received_at = [], []
        for stretch in stretches:
            boundary = stretch.boundary
            if stretch.events and boundary is not None and boundary.committed_at is not None:
                committed_at.append(boundary.committed_at)
                received_at.append(stretch.received_at)
        if committed_at:
            self._observe(Settled(committed_at, received_at, time.time()))

    async def _store(self, stream: Stream) -> None:
        stored, confirmed, idle = self._position, self._confirmed, 0
        while True:
            await asyncio.sleep(_STORE_EVERY)
            idle += 1
            due = self._confirmed != confirmed or idle >= _STORE_IDLE_EVERY
            if due and self._position is not None and self._position != stored:
                stored, confirmed, idle = self._position, self._confirmed, 0
                await stream.store(stored)

    async def _released(self) -> None:
        """Let the slot go when the broker is away for too long: a relay that cannot confirm blocks a fast shutdown."""
        await self._publisher.away(self._release_slot_after)
        raise SlotReleased(
            f"the broker has been away for {self._release_slot_after:g} s; the slot is released, and kept",
            remedy="the relay streams again when RabbitMQ is back",
        )

    async def _stood_still(self) -> None:
        await self._fencing.noticed()
        raise _stood_still()

    async def _park(self) -> None:
        """Store what was rejected, for as long as it takes, and only then settle it."""
        backoff = Backoff(cap=_RETRY_AT_LEAST_EVERY)
        while True:
            await _cleared(self._rejected)
            while batch := list(self._rejections):
                try:
                    await self._parking.park(batch, after=self._position)
                except SourceUnavailable as problem:
                    self._observe(NotStored("parked events", problem))
                    await asyncio.sleep(backoff.next_delay())
                    continue
                backoff.reset()
                if self._rejections[: len(batch)] != batch:
                    continue  # they were dropped meanwhile, and come again: parking them twice stores them once
                del self._rejections[: len(batch)]
                self._observe(Parked([r.parcel.event.id for r in batch], [r.reason for r in batch]))
                self._settled(self._ledger.settle([rejection.parcel.stretch for rejection in batch]))
                self._advance()
                self._parked.set()

    # Between streams, and at the end.

    async def _recover(
        self, problem: SourceUnavailable, stopping: asyncio.Task[Any], *lasting: asyncio.Task[Any]
    ) -> None:
        """Wait until nothing of the broken stream is in flight: its stretches belong to its ledger."""
        if self._fencing.fenced():  # whatever was noticed first, this is why; and nothing held is published any more
            problem = _stood_still()
            self._publisher.forget()
            self._rejections.clear()
            self._fencing.reset()
        self._observe(Standby(problem) if isinstance(problem, SlotHeld) else SourceLost(problem))
        settled = asyncio.create_task(self._nothing_in_flight(self._backoff.next_delay()))
        late = asyncio.create_task(self._fencing.noticed())
        try:
            await _first([settled, late, stopping, *lasting])
        finally:
            settled.cancel()
            late.cancel()
        if self._fencing.fenced():
            await self._recover(_stood_still(), stopping, *lasting)

    async def _nothing_in_flight(self, delay: float = 0.0) -> None:
        await asyncio.sleep(delay)
        await self._publisher.settled()
        while self._rejections:
            await _cleared(self._parked)

    async def _drain(self, stream: Stream, *watching: asyncio.Task[Any]) -> None:
        settled = asyncio.create_task(self._nothing_in_flight())
        try:
            with suppress(SourceUnavailable):  # then there is nobody to tell any more
                await _first([settled, *watching], timeout=_DRAIN_SECONDS)
        finally:
            settled.cancel()
        if left := self._publisher.in_flight() + len(self._rejections):
            self._observe(NotDrained(left))
        if self._position is not None:
            try:
                await stream.store(self._position)
            except Problem as problem:
                self._observe(NotStored("checkpoint", problem))


def _stood_still() -> StoodStill:
    return StoodStill(
        "this process stood still for longer than a third of wal_sender_timeout",
        remedy="what it held is dropped and read again; look for a stopped container or a suspended machine",
    )


async def _first(tasks: Sequence[asyncio.Task[Any]], timeout: float | None = None) -> None:  # noqa: ASYNC109 - not an error
    """Return when the first of `tasks` is done, or after `timeout` seconds; raise what it raised."""
    done, _ = await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _cleared(event: asyncio.Event) -> None:
    """Wait for `event` to be set, and clear it."""
    await event.wait()
    event.clear()
