"""Moves what one stream delivers to the publisher, and the stream's position to what is settled.

stream.receive() ──► router ──► publisher.publish()   waits while the window is full: nothing more is read
│
stream.confirm() ◄── ledger ◄── outcomes              the position is the ledger's low-water mark
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Generic

from relay.core.event import OutboxEvent
from relay.core.evidence import Evidence
from relay.core.hashing.partition import Partition
from relay.core.ledger import Ledger, Stretch
from relay.core.lifetime.fencing import Fencing
from relay.core.observations import Observe, Settled
from relay.core.parking.rejections import Rejections
from relay.core.ports import Parcel, Publisher, Routes, Stream
from relay.core.position import P

AT_MOST = 100_000
"""As many transactions are read behind one that is not settled: those of other partitions are in no window."""


class Pump(Generic[P]):
    """One stream, its ledger, and whether a transaction of it has been read in part."""

    def __init__(  # noqa: PLR0913 - made in one place, by the engine
        self,
        stream: Stream[P],
        router: Routes,
        publisher: Publisher,
        *,
        partition: Partition,
        rejections: Rejections,
        evidence: Evidence,
        fencing: Fencing,
        observe: Observe,
    ) -> None:
        self._stream: Stream[P] | None = stream
        self._route = router.route
        self._publisher = publisher
        self._partition = partition
        self._rejections = rejections
        self._evidence = evidence
        self._fencing = fencing
        self._observe = observe
        self._ledger: Ledger[P] = Ledger()
        self._settled = asyncio.Event()
        self.position = stream.start
        """Everything up to here is settled."""
        self.in_transaction = False
        """Whether events of a transaction have been published whose end has not been read."""

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set and no transaction is open; raises StoodStill when the process is fenced."""
        stream = self._stream
        while stream is not None and (self.in_transaction or not stop.is_set()):
            items = await stream.receive()
            if self._fencing.fenced():
                raise self._fencing.problem()
            parcels: list[Parcel] = []
            settled: list[Stretch] = []
            ledger, route, mine, now = self._ledger, self._route, self._partition.has, time.time()
            for item in items:
                if isinstance(item, OutboxEvent):
                    if not mine(item):
                        ledger.pass_over()
                        continue
                    stretch = ledger.enter()
                    place = item.place or stretch.events + stretch.passed_over
                    parcels.append(Parcel(stretch, item, route(item), place))
                else:
                    settled += ledger.boundary(item, received_at=now)
                    if stop.is_set():
                        break  # what follows is not published; the next run reads it again
            self.in_transaction = ledger.open
            self._report(settled)
            if parcels:
                await self._publisher.publish(parcels)
            self._advance()
            await self._rejections.room()
            await self._evidence.room()
            await self._room()

    def settle(self, parcels: Sequence[Parcel]) -> None:
        """Note that `parcels` of this stream are confirmed or parked."""
        self._report(self._ledger.settle([parcel.stretch for parcel in parcels]))
        self._advance()
        self._settled.set()

    async def store(self) -> None:
        """Store the position, if there is one; raises SourceUnavailable if it cannot be stored now."""
        if self._stream is not None and self.position is not None:
            await self._stream.store(self.position)

    def detach(self) -> None:
        """Let the stream go: it has ended. What is in flight of it can still settle."""
        self._stream = None

    async def _room(self) -> None:
        """Return when few enough transactions are kept."""
        while len(self._ledger) > AT_MOST:
            self._settled.clear()
            await self._settled.wait()

    def _advance(self) -> None:
        position = self._ledger.position
        if position is not None and position != self.position:
            self.position = position
            if self._stream is not None:
                self._stream.confirm(position)

    def _report(self, stretches: Sequence[Stretch]) -> None:
        committed_at, received_at = [], []
        for stretch in stretches:
            boundary = stretch.boundary
            if stretch.events and boundary is not None and boundary.committed_at is not None:
                committed_at.append(boundary.committed_at)
                received_at.append(stretch.received_at)
        if committed_at:
            self._observe(Settled(committed_at, received_at, time.time()))
