"""One open stream of a replication slot.

Four cursors, never mixed: received >= handed over >= published >= confirmed. Only the last is reported as flushed:
flush alone moves the slot, and the server never sends again what lies below it. A position is stored first, and
reported as flushed after that: a slot that is ahead of the stored position was moved by somebody else. A keepalive's
LSN is handed over as a boundary like a commit's, but only while no transaction is open; the ledger decides when it is
confirmed.
"""

import asyncio
import math
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from outboxkit.errors import Problem
from relay.core.errors import SourceStalled, UndecodableChange
from relay.core.event import Boundary, Fence, OutboxEvent
from relay.core.lifetime.attempts import Attempts
from relay.core.observations import CaughtUp, FenceReturned, Observe
from relay.core.position import Lsn
from relay.sources.wal import frames
from relay.sources.wal.decoders.decoding import Decoder
from relay.sources.wal.fences import Fences
from relay.sources.wal.published import Published
from relay.sources.wal.replication import ReplicationConnection
from relay.storage.position import outbox_changed
from relay.storage.state import State


class PositionStore(Protocol):
    """Where a stream stores its position."""

    async def save(self, state: State) -> None:
        """Store `state`; raises SourceUnavailable if it cannot be stored now."""


class FenceEmitter(Protocol):
    """What writes fences into the WAL that a stream reads."""

    async def emit(self, token: str) -> str | None:
        """Write a fence of `token` and its transaction's snapshot; raises a Problem if it cannot be written.

        Returns the relations that the outbox has now.
        """


@dataclass(frozen=True, slots=True)
class Writing:
    """What a stream writes. A stream without it is read-only: slot and stored position stay where they are."""

    positions: PositionStore
    fences: FenceEmitter


@dataclass(frozen=True, slots=True)
class Timings:
    """How often a stream reports, and when it gives up; in seconds."""

    alive_every: float = 1.0
    """A status is sent this often, so that a wal_sender_timeout that was lowered meanwhile does not end the stream."""
    ping_at_most_every: float = 10.0
    answer_within: float = 5.0
    """A status that is a ping asks for an answer, which may take this long."""
    fence_every: float = 1.0
    stalled_after: float = 60.0
    """A fence may take this long behind a large transaction."""
    factor: int = 1
    """By how much the limits on silence and fences are stretched. A stall doubles it for the next stream, so that a
    server that sends nothing while it decodes gets to the end."""


class WalStream:
    """Decodes what arrives, reports what is confirmed, and keeps the server informed that it is alive."""

    def __init__(  # noqa: PLR0913 - made in one place, by `opened`
        self,
        connection: ReplicationConnection,
        decoder: Decoder,
        start: Lsn,
        published: Published,
        *,
        wal_sender_timeout: float,
        relations: str | None,
        writing: Writing | None,
        timings: Timings,
        observe: Observe,
    ) -> None:
        self._connection = connection
        self._decoder = decoder
        self._relations = relations
        self._writing = writing
        self._timings = timings
        self._observe = observe
        self._undecodable: UndecodableChange | None = None
        self.start = start
        """The position that it streams after."""
        self._handed_over = start
        # 0 reports nothing. `start` may be what this process remembers, which is not stored yet.
        self._flushed = Lsn(0)
        self._published = published
        self._transaction: int | None = None
        """The transaction whose events are being handed over."""
        self._loop = asyncio.get_running_loop()
        every = timings.ping_at_most_every
        self._interval = min(every, wal_sender_timeout / 4) if wal_sender_timeout else every
        self._silence = min(self._interval + timings.answer_within, wal_sender_timeout or math.inf) * timings.factor
        self._ping_at = self._loop.time() + self._interval
        self._alive_every = min(self._interval, timings.alive_every)
        self._timer = self._loop.call_later(self._alive_every, self._live)
        self._fences = Fences(secrets.token_hex(6))
        self.lively = False
        """Whether a fence has come back."""
        self._confirmed = start
        self._finishing = False
        """Whether nothing is read behind the end of a transaction."""
        self._read_all = False
        """Whether nothing is read any more: until then, what is on its way will still be handed over."""
        self._over = False
        """Whether the other source goes on: nothing is stored any more."""
        self._ended = asyncio.Event()
        self._goes_on_from: State | None = None

    async def receive(self) -> Sequence[OutboxEvent | Boundary[Lsn]]:
        """Return the events and boundaries that have arrived, at least one.

        Raises UndecodableChange after everything that came before what cannot be read.
        """
        items: list[OutboxEvent | Boundary[Lsn]] = []
        since = self._loop.time()
        while not items:
            if self._finishing and self._between:
                self._read_all = True
                self._end_if_last()
                await self._loop.create_future()  # the other source goes on from here
            if self._undecodable is not None:
                raise self._undecodable
            arrived = await self._connection.receive(silence=self._silence)
            for kind, run in groupby(arrived, frames.kind):
                if kind == frames.XLOG_DATA:
                    self._decode(list(run), items)
                    if self._undecodable is not None:
                        break
                else:
                    items += [Boundary(end) for frame in run if (end := self._kept_alive(frames.keepalive(frame)))]
            if not items:
                self._give_up_a_stall(since)
        return items

    def confirm(self, position: Lsn) -> None:
        """Note that everything up to `position` is confirmed."""
        self._confirmed = position
        fence = self._fences.confirmed(position)
        self._published.confirmed(position, fence and fence.snapshot)
        if fence is not None:
            self._observe(CaughtUp(fence.written))
        self._end_if_last()

    def state(self, position: Lsn) -> State:
        """Return what is published up to `position`, the last that was confirmed."""
        return self._goes_on_from or self._published.state(position)

    def published(self) -> State:
        """Return what is published up to the last position that was confirmed."""
        return self.state(self._confirmed)

    async def store(self, position: Lsn) -> None:
        """Store `position` with what it means for a poll, and then report it as flushed."""
        if self._writing and position >= self._flushed and not self._over:
            await self._writing.positions.save(self.state(position))
            self._flushed = position
            self._send_status()

    async def run(self) -> None:
        """Write a fence every second, until cancelled. A fence that cannot be written says nothing about the stream.

        Raises OutboxChanged when the outbox has other partitions than when the stream was opened.
        """
        attempts = Attempts("fence", self._observe)
        while True:
            await asyncio.sleep(self._timings.fence_every)
            if self._writing:
                token = self._fences.write(self._loop.time())
                try:
                    relations = await self._writing.fences.emit(token)
                except Problem as problem:
                    self._fences.unwritten(token)
                    attempts.failed(problem)
                else:
                    attempts.succeeded()
                    if relations != self._relations:
                        raise outbox_changed()

    # The change to polling.

    async def finish(self) -> Lsn:
        """Read no further than to the end of a transaction; return where that is, when all before it is confirmed."""
        self._finishing = True
        await self._ended.wait()
        return self._confirmed

    async def hand_over(self, state: State) -> None:
        """Store `state`, from which the other source goes on."""
        self._over = True
        if self._writing is not None:
            await self._writing.positions.save(state)
        self._goes_on_from = state

    @property
    def _between(self) -> bool:
        """Whether no transaction has been handed over in part."""
        return self._transaction is None

    def _end_if_last(self) -> None:
        if self._read_all and self._confirmed == self._handed_over:
            self._ended.set()

    async def close(self) -> None:
        """Report what is stored, and stop answering."""
        self._timer.cancel()
        self._send_status()

    def _decode(self, changes: Sequence[bytes | memoryview], items: list[OutboxEvent | Boundary[Lsn]]) -> None:
        """Append to `items` what `changes` mean for the ledger, and note how far the stream has come."""
        read, fences = 0, self._fences
        try:
            for item in self._decoder.decode(frames.changes(changes)):
                read += 1
                if isinstance(item, OutboxEvent):
                    if self._published.filtering and self._published.polled(
                        item.transaction, self._decoder.commits_at()
                    ):
                        continue
                    items.append(item)
                    self._transaction = item.transaction
                elif isinstance(item, Boundary):
                    items.append(item)
                    self._hand_over(item.position)
                    if self._transaction is not None:
                        self._published.ended(self._transaction, item.position)
                        self._transaction = None
                    if fences.returned:
                        fences.boundary(item.position)
                elif item is not None:
                    self._came_back(item)
        except UndecodableChange as problem:
            where = frames.position(changes[read])
            self._undecodable = UndecodableChange(f"{problem.what} (in the WAL at {where})", remedy=problem.remedy)
            self._undecodable.__cause__ = problem

    def _hand_over(self, position: Lsn) -> None:
        if position < self._handed_over:
            raise ValueError(f"boundary {position} is below the one before it, {self._handed_over}")
        self._handed_over = position

    def _came_back(self, fence: Fence) -> None:
        seconds = self._fences.read(fence, self._loop.time())
        if self._published.filtering and not self._published.counts(self._decoder.commits_at()):
            self._fences.pass_over()
        if seconds is not None:
            self.lively = True
            self._observe(FenceReturned(seconds))

    def _kept_alive(self, keepalive: frames.Keepalive) -> Lsn | None:
        """Return the keepalive's position if the ledger has to know it."""
        if keepalive.reply_requested:
            self._send_status()
        # While the server reads old WAL up to the start, its keepalives lie below what is confirmed already.
        if self._decoder.in_transaction or keepalive.end <= self._handed_over:
            return None
        self._hand_over(keepalive.end)
        self._fences.boundary(keepalive.end)
        return keepalive.end

    def _live(self) -> None:
        self._timer = self._loop.call_later(self._alive_every, self._live)
        now = self._loop.time()
        if ping := now >= self._ping_at:
            self._ping_at = now + self._interval
        self._send_status(ping=ping)

    def _send_status(self, *, ping: bool = False) -> None:
        self._connection.send(
            frames.standby_status(received=self._handed_over, flushed=self._flushed, now=time.time(), ping=ping)
        )

    def _give_up_a_stall(self, reading_since: float) -> None:
        """Raise when a fence has been due for too long, although everything that came has been read."""
        oldest, limit = self._fences.oldest(), self._timings.stalled_after * self._timings.factor
        if oldest is not None and self._loop.time() - max(oldest, reading_since) > limit:
            raise SourceStalled(
                f"the stream has stalled: a fence written {self._loop.time() - oldest:.0f} s ago has not come back",
                remedy="the relay connects again by itself; see pg_stat_replication and the server's log",
            )
