"""The loop over streams: open one, pump it, drain it, and open the next after what is settled.

    source.open() ──► pump ──► publisher ──► outcomes ──► pump.settle()
                                                │              ▲
                                                └─► rejections ┘   what cannot be published is parked, then settled

The publisher keeps its own connection: while the broker is away, the stream stays open and unread, for a while. When
the stream breaks, what is in flight settles first; then the next one opens after the pump's position. No boundary
covers a half-read transaction: a stream that breaks inside one publishes its first half again. A stop reads the open
transaction to its end.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from outboxkit.backoff import Backoff
from outboxkit.errors import Problem
from relay.core.errors import (
    OutboxChanged,
    PositionLost,
    RepairNeeded,
    ServerStops,
    SlotReleased,
    SourceUnavailable,
    StandsBy,
    Switched,
    Unanswered,
)
from relay.core.evidence import Evidence
from relay.core.hashing.partition import WHOLE, Partition
from relay.core.lifetime.attempts import Attempts
from relay.core.lifetime.fencing import Fencing
from relay.core.lifetime.shutdown import Shutdown
from relay.core.lifetime.supervisor import Supervisor
from relay.core.observations import NotDrained, NotStored, Observe, SourceLost, Standby, Stopped
from relay.core.parking.redrives import Redrives
from relay.core.parking.rejections import Rejections
from relay.core.ports import Parcel, Parking, Publisher, Rejection, Routes, Source, Stream
from relay.core.position import Position
from relay.core.pump import Pump


@dataclass(frozen=True, slots=True)
class Timings:
    """How often the engine stores and tries again, and how long it waits; in seconds."""

    release_slot_after: float
    """Without the broker, until the source is let go: a relay that cannot confirm blocks a fast shutdown."""
    store_every: float = 0.5
    """The stored position may lag behind the confirmed one by this much: a restart publishes that again."""
    store_after: int = 1000
    """It is stored sooner when this many events were confirmed since."""
    store_idle_every: float = 10.0
    """Storing writes WAL itself, so an idle relay stores seldom."""
    drain: float = 15.0
    """A stop waits this long for the confirms of what is in flight."""
    end_of_transaction: float = 5.0
    """A stop waits this long for the end of the transaction that is being read."""
    store_at_last: float = 5.0
    """How long a stop waits for the position to be stored."""
    part: float = 1.0
    """A server that shuts down waits this long for the confirms of what is in flight."""
    retry_at_least_every: float = 2.0
    """A standby takes over this soon after the slot is free."""
    lasting: float = 10.0
    """A stream that has lived this long has succeeded; one that ends sooner is opened again with a longer delay."""


class Engine:
    """Moves events from `source` to `publisher` until stopped, and loses none."""

    def __init__(  # noqa: PLR0913 - made in one place, by the composition root
        self,
        source: Source,
        router: Routes,
        publisher: Publisher,
        parking: Parking,
        redrives: Redrives | None,
        *,
        evidence: Evidence,
        fencing: Fencing,
        shutdown: Shutdown,
        supervisor: Supervisor,
        observe: Observe,
        timings: Timings,
        partition: Partition = WHOLE,
    ) -> None:
        self._source = source
        self._router = router
        self._partition = partition
        self._publisher = publisher
        self._publisher.notify(self)
        self._evidence = evidence
        self._fencing = fencing
        self._shutdown = shutdown
        self._supervisor = supervisor
        self._observe = observe
        self._timings = timings
        self._backoff = Backoff(cap=timings.retry_at_least_every)
        self._rejections = Rejections(parking, observe, retry_every=timings.retry_at_least_every)
        self._redrives = redrives
        self._pump: Pump[Any] | None = None
        self._confirmed = 0
        self._unstored = 0
        """How many events were confirmed since the position was last stored, or tried to be."""
        self._many_unstored = asyncio.Event()
        self._stored: Position | None = None
        """The position that was stored last, of the open stream."""
        self._open = False
        """Whether a stream is open."""

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` is set, then drain and end the background tasks.

        Raises a Problem when trying again cannot help, and what a background task raised.
        """
        self._supervisor.start("publisher", self._publisher.run())
        self._supervisor.start("parking", self._rejections.run(self._position, self._settle_parked))
        self._supervisor.start("fencing", self._fencing.run())
        self._supervisor.start("proof", self._fencing.prove(self._ours))
        stopping = asyncio.create_task(stop.wait())
        starting = True
        try:
            while not stop.is_set():
                self._shutdown.forget()
                standstills = self._fencing.standstills()
                try:
                    async with self._source.open(self._position()) as stream:
                        starting, self._open = False, True
                        self._fencing.doubt(standstills)
                        with self._succeeding():
                            await self._relay(stream, stop, stopping)
                except SourceUnavailable as problem:
                    if starting and isinstance(problem, RepairNeeded):
                        raise
                    starting = False
                    await self._recover(problem, stopping)
                    if stop.is_set() and (left := self._holding()):
                        self._observe(NotDrained(left))
        finally:
            stopping.cancel()
            await self._supervisor.stop()
            self._observe(Stopped(self._confirmed, self._position()))

    # Outcomes, reported by the publisher.

    def confirmed(self, parcels: Sequence[Parcel]) -> None:
        """Settle what the broker has taken."""
        self._evidence.confirmed(parcels)
        self._confirmed += len(parcels)
        self._unstored += len(parcels)
        if self._unstored >= self._timings.store_after:
            self._many_unstored.set()
        if self._redrives:
            self._redrives.confirmed(parcels)
        self._settle(parcels)

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """Queue what cannot be published for parking."""
        if self._redrives:
            self._redrives.rejected(rejections)
        self._rejections.add(rejections)

    def _settle_parked(self, rejections: Sequence[Rejection]) -> None:
        self._settle([rejection.parcel for rejection in rejections])

    def _settle(self, parcels: Sequence[Parcel]) -> None:
        if self._pump is not None:
            self._pump.settle(parcels)

    def _position(self) -> Position | None:
        return None if self._pump is None else self._pump.position

    # One stream.

    async def _relay(self, stream: Stream[Any], stop: asyncio.Event, stopping: asyncio.Future[Any]) -> None:
        pump: Pump[Any] = Pump(
            stream,
            self._router,
            self._publisher,
            partition=self._partition,
            rejections=self._rejections,
            evidence=self._evidence,
            fencing=self._fencing,
            observe=self._observe,
        )
        self._pump, self._stored = pump, None
        reading = asyncio.create_task(pump.run(stop))
        try:
            async with Supervisor(self._observe) as beside:
                beside.start("stream", stream.run())
                beside.start("storing", self._store(pump))
                if self._redrives is not None:
                    beside.start("redriven events", self._redrives.run())
                beside.start("release", self._released())
                beside.start("standstill", self._stood_still())
                beside.start("shutdown", self._server_stops())
                failures = (beside.failure, self._supervisor.failure)
                try:
                    await _first(reading, stopping, *failures)
                    if pump.in_transaction:  # a stop in the middle of it would publish its first half again
                        await _first(reading, *failures, timeout=self._timings.end_of_transaction)
                    reading.cancel()  # what comes from here on belongs to the next run
                    await self._drain(pump, *failures)
                except ServerStops:
                    reading.cancel()
                    await self._part()
                    raise
                except SourceUnavailable:
                    raise  # there is no stream to report to; what is in flight settles before the next one opens
                except Problem:  # the first one is the reason, whatever else fails while this drains
                    with suppress(Problem):
                        await self._drain(pump, *(failure for failure in failures if not failure.done()))
                    raise
        finally:
            self._open = False
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            pump.detach()

    @contextmanager
    def _succeeding(self) -> Iterator[None]:
        """Begin the delays anew behind a stream that has lived for a while: one that has only opened may not work."""
        loop = asyncio.get_running_loop()
        opened = loop.time()
        try:
            yield
        finally:
            if loop.time() - opened >= self._timings.lasting:
                self._backoff.reset()

    async def _store(self, pump: Pump[Any]) -> None:
        """Store the position of `pump` again and again; what Postgres refuses now is stored later."""
        loop, attempts = asyncio.get_running_loop(), Attempts("checkpoint", self._observe)
        stored, since = pump.position, loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timings.store_every):
                    await self._many_unstored.wait()
            self._many_unstored.clear()
            due = self._unstored or loop.time() - since >= self._timings.store_idle_every
            if not due or (pump.position == stored and not self._evidence.much):
                continue
            position, unstored, self._unstored = pump.position, self._unstored, 0
            try:
                await pump.store()
            except (PositionLost, OutboxChanged, Unanswered):
                raise
            except SourceUnavailable as problem:
                self._unstored += unstored
                attempts.failed(problem)
            else:
                self._stored, stored, since = position, position, loop.time()
                attempts.succeeded()

    async def _released(self) -> None:
        await self._publisher.away(self._timings.release_slot_after)
        raise SlotReleased(
            f"the broker has been away for {self._timings.release_slot_after:g} s; the slot is released, and kept",
            remedy="the relay streams again when RabbitMQ is back",
        )

    async def _stood_still(self) -> None:
        await self._fencing.noticed()
        raise self._fencing.problem()

    async def _server_stops(self) -> None:
        await self._shutdown.announced()
        raise self._shutdown.problem()

    async def _part(self) -> None:
        """Give what is in flight a moment to settle, so that as little as possible is published again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timings.part):
                await self._nothing_in_flight()

    # Between streams, and at the end.

    async def _recover(self, problem: SourceUnavailable, stopping: asyncio.Future[Any]) -> None:
        """Wait until nothing of the broken stream is in flight: its parcels belong to its ledger."""
        # Whatever was noticed first, this is the reason; nothing held is published any more.
        if self._fencing.fenced() or (self._fencing.holds() and self._holding()):
            problem = self._fencing.problem()
            self._publisher.forget()
            self._rejections.clear()
            if self._redrives:
                self._redrives.clear()
            self._fencing.reset()
        if not isinstance(problem, Switched):  # which the source has told
            self._observe(Standby(problem) if isinstance(problem, StandsBy) else SourceLost(problem))
        idle = asyncio.create_task(self._nothing_in_flight(self._backoff.next_delay()))
        fenced = asyncio.create_task(self._fencing.noticed())
        try:
            await _first(idle, fenced, stopping, self._supervisor.failure)
        finally:
            idle.cancel()
            fenced.cancel()
        if self._fencing.fenced():
            await self._recover(self._fencing.problem(), stopping)

    def _holding(self) -> int:
        return self._publisher.in_flight() + len(self._rejections)

    async def _ours(self) -> bool:
        """Return whether nobody can have taken what this process holds: nothing, or what the source says is its own."""
        if not self._open and not self._holding():
            return True
        return await self._source.held()

    async def _nothing_in_flight(self, delay: float = 0.0) -> None:
        await asyncio.sleep(delay)
        await self._publisher.drained()
        await self._rejections.empty()

    async def _drain(self, pump: Pump[Any], *failures: asyncio.Future[Any]) -> None:
        idle = asyncio.create_task(self._nothing_in_flight())
        try:
            with suppress(SourceUnavailable):  # the stream is gone; the next run publishes what is unsettled again
                await _first(idle, *failures, timeout=self._timings.drain)
        finally:
            idle.cancel()
            if left := self._holding():
                self._observe(NotDrained(left))
            await self._store_at_last(pump)

    async def _store_at_last(self, pump: Pump[Any]) -> None:
        if pump.position == self._stored and not self._evidence.waits:
            return
        seconds = self._timings.store_at_last
        try:
            async with asyncio.timeout(seconds):
                await pump.store()
        except TimeoutError:
            problem = Problem(
                f"Postgres has not stored the position within {seconds:g} s",
                remedy="the next run starts from the one before it",
            )
            self._observe(NotStored("checkpoint", problem))
        except Problem as problem:
            self._observe(NotStored("checkpoint", problem))


async def _first(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:  # noqa: ASYNC109 - not an error
    """Return when the first of `futures` is done, or after `timeout` seconds; raise what it raised."""
    done, _ = await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for future in done:
        future.result()
