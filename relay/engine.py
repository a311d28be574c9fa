"""The loop: source → route → publish → ledger → checkpoint.

    stream.receive() ──► router ──► publisher.publish()   waits while the window is full: nothing more is read
                                          │
    stream.confirm() ◄── ledger ◄── on_confirmed()        the slot moves to the ledger's low-water mark, and no further

The publisher keeps its own connection: while the broker is away, the stream stays open and unread. When the stream
breaks, what is in flight settles first; then the next one opens after the ledger's position. Only a transaction that
was cut in its middle is published twice in part, and a stop does not cut: it reads the open one to its end.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from messaging.backoff import Backoff
from relay.errors import SlotHeld, SourceUnavailable
from relay.event import Message, OutboxEvent
from relay.ledger import Ledger, Ticket
from relay.ports import Publisher, Source, Stream
from relay.position import Lsn
from relay.routing import Router
from runtime.errors import Problem

log = structlog.get_logger()

# The stored checkpoint may lag behind the slot by this much: it matters only after a crash of Postgres.
_STORE_EVERY = 1.0
# Storing writes WAL itself, so an idle relay stores seldom.
_STORE_IDLE_EVERY = 10
_DRAIN_SECONDS = 15.0
# How long a stop waits for the end of the transaction that is being read.
_END_OF_TRANSACTION_SECONDS = 5.0
# A standby takes over this soon after the slot is free.
_RETRY_AT_LEAST_EVERY = 2.0


class Engine:
    """Moves events from `source` to the publisher until told to stop, and loses none."""

    def __init__(self, source: Source, router: Router, publisher: Publisher) -> None:
        self._source = source
        self._router = router
        self._publisher = publisher
        self._publisher.notify(self._on_confirmed)
        self._backoff = Backoff(cap=_RETRY_AT_LEAST_EVERY)
        self._ledger = Ledger()
        self._stream: Stream | None = None
        self._halfway = False
        self._position: Lsn | None = None
        self._confirmed = 0
        self._incident = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` is set, then drain; raises a Problem that trying again cannot help."""
        stopping = asyncio.create_task(stop.wait())
        connection = asyncio.create_task(self._publisher.run())
        try:
            while not stop.is_set():
                try:
                    async with self._source.open(self._position) as stream:
                        self._backoff.reset()
                        self._incident = ""
                        await self._relay(stream, stopping, connection)
                except SourceUnavailable as problem:
                    await self._source_lost(problem, stopping)
        finally:
            stopping.cancel()
            connection.cancel()
            await asyncio.gather(stopping, connection, return_exceptions=True)
            log.info("stopped", confirmed=self._confirmed, position=str(self._position))

    async def _relay(self, stream: Stream, stopping: asyncio.Task[Any], connection: asyncio.Task[Any]) -> None:
        self._ledger, self._stream, self._halfway = Ledger(), stream, False
        pump = asyncio.create_task(self._pump(stream, stopping))
        tasks = [pump, asyncio.create_task(self._store(stream))]
        try:
            done, _ = await asyncio.wait([*tasks, stopping, connection], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if self._halfway:  # half a transaction is below no boundary: the next run would publish it again
                await asyncio.wait(
                    [*tasks, connection], timeout=_END_OF_TRANSACTION_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._drain(stream)
            self._stream = None

    async def _pump(self, stream: Stream, stopping: asyncio.Task[Any]) -> None:
        while self._halfway or not stopping.done():
            messages: list[tuple[Ticket, Message]] = []
            for item in await stream.receive():
                if isinstance(item, OutboxEvent):
                    messages.append((self._ledger.enter(), self._router.route(item)))
                    self._halfway = True
                else:
                    self._ledger.boundary(item.position)
                    self._halfway = False
                    if stopping.done():
                        break  # what came behind it was not published, and comes again
            if messages:
                await self._publisher.publish(messages)
            self._advance()

    def _on_confirmed(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            self._ledger.settle(ticket)
        self._confirmed += len(tickets)
        self._advance()

    def _advance(self) -> None:
        position = self._ledger.position
        if position is not None and position != self._position:
            self._position = position
            if self._stream is not None:
                self._stream.confirm(position)

    async def _store(self, stream: Stream) -> None:
        stored, confirmed, idle = self._position, self._confirmed, 0
        while True:
            await asyncio.sleep(_STORE_EVERY)
            idle += 1
            due = self._confirmed != confirmed or idle >= _STORE_IDLE_EVERY
            if due and self._position is not None and self._position != stored:
                stored, confirmed, idle = self._position, self._confirmed, 0
                await stream.store(stored)

    async def _drain(self, stream: Stream) -> None:
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._publisher.settled()
        except TimeoutError:
            log.warning("not drained", remedy="what is unconfirmed is published again by the next run")
        if self._position is not None:
            try:
                await stream.store(self._position)
            except Problem as problem:
                log.warning("checkpoint not stored", reason=problem.what, remedy="the slot has its own position")

    async def _source_lost(self, problem: SourceUnavailable, stopping: asyncio.Task[Any]) -> None:
        if problem.what != self._incident:  # one line for an incident, however often it is tried again
            event = "standby" if isinstance(problem, SlotHeld) else "source not available"
            log.warning(event, reason=problem.what, remedy=problem.remedy)
        self._incident = problem.what
        settled = asyncio.create_task(self._settled_after(self._backoff.next_delay()))
        await asyncio.wait([settled, stopping], return_when=asyncio.FIRST_COMPLETED)
        settled.cancel()

    async def _settled_after(self, delay: float) -> None:
        """Wait `delay`, and until nothing of the broken stream is in flight: its tickets belong to its ledger."""
        await asyncio.sleep(delay)
        await self._publisher.settled()
