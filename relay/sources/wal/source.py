"""The outbox, read from the WAL through a replication slot.

Four cursors, never mixed: received >= handed over >= published >= confirmed. Only the last is reported as flushed,
because flush alone moves the slot, and what lies below it is never sent again. A keepalive's LSN is handed over as a
boundary like a commit's, only while no transaction is open; the ledger decides when it is confirmed.
"""

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby

from relay.core.errors import SourceRefused, SourceStalled, SourceUnavailable, UndecodableChange
from relay.core.event import Boundary, Fence, OutboxEvent
from relay.core.observations import CaughtUp, FenceReturned, NotStored, Observe, Streaming
from relay.core.position import Lsn
from relay.sources.wal import frames
from relay.sources.wal.decoders.decoding import Decoder
from relay.sources.wal.fences import Fences
from relay.sources.wal.replication import ReplicationConnection, System
from relay.sources.wal.starting import check, start_position
from relay.storage.checkpoint import CheckpointStore
from relay.storage.facts import Facts, TableFacts

_STATUS_AT_MOST_EVERY = 10.0
# Every status asks for an answer, which may take this long.
_ANSWER_WITHIN = 5.0
_FENCE_EVERY = 1.0
# A fence may take this long behind a large transaction. Each stall in a row doubles the patience for it and for an
# answer, so that a server that says nothing while it decodes gets to the end.
_STALLED_AFTER = 60.0


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read: which slot, as whom, and how to decode what its plugin writes."""

    slot: str
    name: str
    decoder: Callable[[str, Facts], tuple[Decoder, Mapping[str, str]]]
    """From the slot's plugin, and what the server says, to a fresh decoder and the plugin's options."""
    examine: Callable[[TableFacts | None, str], None]
    """Raises what keeps the outbox table from being read with the slot's plugin."""
    plugin: str
    """The plugin that was asked for, or `auto`: whatever the slot has."""
    read_only: bool = False
    """Whether slot and checkpoint stay where they are."""


class WalSource:
    """Opens streams from a slot; `database_url` is asked at each connect, so that a changed password is picked up."""

    def __init__(
        self, database_url: Callable[[], str], store: CheckpointStore, reading: Reading, observe: Observe
    ) -> None:
        self._database_url = database_url
        self._store = store
        self._reading = reading
        self._observe = observe
        self._system: System | None = None
        self._patience = 1

    @asynccontextmanager
    async def open(self, after: Lsn | None) -> AsyncIterator["WalStream"]:
        """Check everything, then stream after `after` or the stored checkpoint, whichever holds on this server."""
        reading = self._reading
        facts = await self._store.facts()
        plugin = check(facts, reading.slot, plugin=reading.plugin)
        connection = await self._connect(facts)
        try:
            system = await connection.identify()
            known = self._system
            same = known is not None and (known.identifier, known.timeline) == (system.identifier, system.timeline)
            start = start_position(facts, system, reading.slot, after if same else None)
            reading.examine(await self._store.table(), plugin)
            decoder, options = reading.decoder(plugin, facts)
            await connection.start(start, options)
            self._system = system
            stream = WalStream(connection, self._store, system, start, facts, decoder, self._observe,
                               read_only=reading.read_only, patience=self._patience)  # fmt: skip
            self._observe(Streaming(reading.slot, plugin, start, system.timeline))
            self._patience, before = 1, self._patience
            try:
                yield stream
            except SourceStalled:
                if not stream.lively:
                    self._patience = before * 2
                raise
            finally:
                await stream.close()
        finally:
            await connection.close()

    async def _connect(self, facts: Facts) -> ReplicationConnection:
        reading = self._reading
        try:
            return await ReplicationConnection.connect(self._database_url(), slot=reading.slot, name=reading.name)
        except SourceUnavailable as problem:
            # libpq tells no SQLSTATE of a connection that was refused. The attribute alone proves nothing either:
            # some hosted servers let roles stream that lack it.
            if facts.may_replicate:
                raise
            raise SourceRefused(
                f"role {facts.role!r} lacks REPLICATION ({problem.__cause__})",
                remedy=f'ALTER ROLE "{facts.role}" REPLICATION',
            ) from problem


class WalStream:
    """One open stream: decodes what arrives, reports what is confirmed, and shows the server that it lives."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place, by WalSource
        self,
        connection: ReplicationConnection,
        store: CheckpointStore,
        system: System,
        start: Lsn,
        facts: Facts,
        decoder: Decoder,
        observe: Observe,
        *,
        read_only: bool,
        patience: int = 1,
    ) -> None:
        self._connection = connection
        self._store = store
        self._system = system
        self._read_only = read_only
        self._decoder = decoder
        self._undecodable: UndecodableChange | None = None
        self._observe = observe
        self._handed_over = start
        # The confirmed position of the slot never goes back, so reporting less than it holds moves nothing.
        self._flushed = Lsn(0) if read_only else start
        self._loop = asyncio.get_running_loop()
        self._status_due = False
        timeout = facts.wal_sender_timeout_ms / 1000
        self._interval = min(_STATUS_AT_MOST_EVERY, timeout / 4) if timeout else _STATUS_AT_MOST_EVERY
        self._silence = min(self._interval + _ANSWER_WITHIN, timeout or math.inf) * patience
        self._timer = self._loop.call_later(self._interval, self._ping)
        self._fences = Fences(secrets.token_hex(6))
        self._stalled_after = _STALLED_AFTER * patience
        self.lively = False
        """Whether a fence has come back."""
        self._fencing = None if read_only else asyncio.create_task(self._fence())

    async def receive(self) -> Sequence[OutboxEvent | Boundary]:
        """Return the events and boundaries that have arrived, at least one.

        Raises UndecodableChange behind everything that came before what cannot be read.
        """
        items: list[OutboxEvent | Boundary] = []
        since = self._loop.time()
        while not items:
            if self._undecodable is not None:
                raise self._undecodable
            arrived = await self._connection.receive(silence=self._silence)
            for kind, stretch in groupby(arrived, frames.kind):
                if kind == frames.XLOG_DATA:
                    self._decode(list(stretch), items)
                    if self._undecodable is not None:
                        break
                else:
                    items += [Boundary(end) for frame in stretch if (end := self._kept_alive(frames.keepalive(frame)))]
            if not items:
                self._give_up_a_stall(since)
        return items

    def confirm(self, position: Lsn) -> None:
        """Report `position` as flushed, once for all that is confirmed in this turn of the loop."""
        if (written := self._fences.confirmed(position)) is not None:
            self._observe(CaughtUp(written))
        if not self._read_only and position > self._flushed:
            self._flushed = position
            if not self._status_due:
                self._status_due = True
                self._loop.call_soon(self._send_status)

    async def store(self, position: Lsn) -> None:
        """Store `position` beside the outbox, with the system that it belongs to."""
        if not self._read_only:
            await self._store.save(position, system_identifier=self._system.identifier, timeline=self._system.timeline)

    async def close(self) -> None:
        """Send what is confirmed, and stop answering."""
        self._timer.cancel()
        if self._fencing is not None:
            self._fencing.cancel()
            await asyncio.gather(self._fencing, return_exceptions=True)
        self._send_status()

    def _decode(self, changes: Sequence[bytes | memoryview], items: list[OutboxEvent | Boundary]) -> None:
        """Append to `items` what `changes` mean for the ledger, and note how far the stream has come."""
        read, fences = 0, self._fences
        try:
            for item in self._decoder.decode(frames.changes(changes)):
                read += 1
                if isinstance(item, OutboxEvent):
                    items.append(item)
                elif isinstance(item, Boundary):
                    items.append(item)
                    self._handed_over = item.position
                    if fences.returned:
                        fences.boundary(item.position)
                elif item is not None:
                    self._came_back(item)
        except UndecodableChange as problem:
            where = frames.position(changes[read])
            self._undecodable = UndecodableChange(f"{problem.what} (in the WAL at {where})", remedy=problem.remedy)
            self._undecodable.__cause__ = problem

    def _came_back(self, fence: Fence) -> None:
        seconds = self._fences.read(fence, self._loop.time())
        if seconds is not None:
            self.lively = True
            self._observe(FenceReturned(seconds))

    def _kept_alive(self, keepalive: frames.Keepalive) -> Lsn | None:
        """Return the keepalive's position if it is one that the ledger has to know."""
        if keepalive.reply_requested:
            self._send_status()
        # While the server reads old WAL up to the start, its keepalives lie below what is confirmed already.
        if self._decoder.in_transaction or keepalive.end <= self._handed_over:
            return None
        self._handed_over = keepalive.end
        self._fences.boundary(keepalive.end)
        return keepalive.end

    def _ping(self) -> None:
        self._timer = self._loop.call_later(self._interval, self._ping)
        self._send_status(ping=True)

    def _send_status(self, *, ping: bool = False) -> None:
        self._status_due = False
        self._connection.send(
            frames.standby_status(received=self._handed_over, flushed=self._flushed, now=time.time(), ping=ping)
        )

    async def _fence(self) -> None:
        """Write a fence every second. One that cannot be written says nothing about the stream; the store tells why."""
        while True:
            await asyncio.sleep(_FENCE_EVERY)
            try:
                await self._store.emit_fence(self._fences.write(self._loop.time()))
            except SourceUnavailable as problem:
                self._observe(NotStored("fence", problem))

    def _give_up_a_stall(self, reading_since: float) -> None:
        """Raise when a fence has been due for too long, although everything that came has been read."""
        oldest = self._fences.oldest()
        if oldest is not None and self._loop.time() - max(oldest, reading_since) > self._stalled_after:
            raise SourceStalled(
                f"the stream has stalled: a fence written {self._loop.time() - oldest:.0f} s ago has not come back",
                remedy="the relay connects again by itself; see pg_stat_replication and the server's log",
            )
