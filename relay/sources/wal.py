"""The outbox, read from the WAL through a replication slot.

Four cursors, never mixed: received >= handed over >= published >= confirmed. Only the last is reported as flushed,
because flush alone moves the slot, and what lies below it is never sent again. A keepalive's LSN is handed over as a
boundary like a commit's, only while no transaction is open; the ledger decides when it is confirmed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from relay.checkpoint import CheckpointStore, Facts
from relay.errors import SlotHeld, SlotMissing, SourceRefused, SourceUnavailable
from relay.event import Boundary, OutboxEvent
from relay.position import Lsn
from relay.sources import frames
from relay.sources.replication import ReplicationConnection, System
from relay.sources.wal2json import OPTIONS, PLUGIN, Wal2JsonDecoder

log = structlog.get_logger()

# A silent stream is given up after this long where the server itself sets no wal_sender_timeout.
_SILENCE_WITHOUT_TIMEOUT = 30.0
_STATUS_AT_MOST_EVERY = 10.0


class WalSource:
    """Opens streams from `slot`; with `read_only`, the slot and the stored checkpoint never move."""

    def __init__(
        self, database_url: str, store: CheckpointStore, *, slot: str, name: str, read_only: bool = False
    ) -> None:
        self._database_url = database_url
        self._store = store
        self._slot = slot
        self._name = name
        self._read_only = read_only
        self._system: System | None = None

    @asynccontextmanager
    async def open(self, after: Lsn | None) -> AsyncIterator["WalStream"]:
        """Check everything, then stream after `after` or the stored checkpoint, whichever holds on this server."""
        facts = await self._store.facts()
        check(facts, self._slot)
        connection = await self._connect(facts)
        try:
            system = await connection.identify()
            known = self._system
            same = known is not None and (known.identifier, known.timeline) == (system.identifier, system.timeline)
            start = start_position(facts, system, self._slot, after if same else None)
            await connection.start(start, OPTIONS)
            self._system = system
            stream = WalStream(connection, self._store, system, start, facts, read_only=self._read_only)
            log.info("streaming", source="wal", slot=self._slot, start=str(start), timeline=system.timeline)
            try:
                yield stream
            finally:
                stream.close()
        finally:
            await connection.close()

    async def _connect(self, facts: Facts) -> ReplicationConnection:
        try:
            return await ReplicationConnection.connect(self._database_url, slot=self._slot, name=self._name)
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

    def __init__(  # noqa: PLR0913 - made in one place, by WalSource
        self,
        connection: ReplicationConnection,
        store: CheckpointStore,
        system: System,
        start: Lsn,
        facts: Facts,
        *,
        read_only: bool,
    ) -> None:
        self._connection = connection
        self._store = store
        self._system = system
        self._read_only = read_only
        self._decoder = Wal2JsonDecoder()
        self._handed_over = start
        # The confirmed position of the slot never goes back, so reporting less than it holds moves nothing.
        self._flushed = Lsn(0) if read_only else start
        self._loop = asyncio.get_running_loop()
        self._status_due = False
        timeout = facts.wal_sender_timeout_ms / 1000
        self._interval = min(_STATUS_AT_MOST_EVERY, timeout / 4) if timeout else _STATUS_AT_MOST_EVERY
        self._silence = timeout or _SILENCE_WITHOUT_TIMEOUT
        self._timer = self._loop.call_later(self._interval, self._ping)

    async def receive(self) -> Sequence[OutboxEvent | Boundary]:
        """Return the events and boundaries that have arrived, at least one."""
        items: list[OutboxEvent | Boundary] = []
        while not items:
            for frame in await self._connection.receive(silence=self._silence):
                item = self._read(frames.parse(frame))
                if item is not None:
                    items.append(item)
        return items

    def confirm(self, position: Lsn) -> None:
        """Report `position` as flushed, once for all that is confirmed in this turn of the loop."""
        if not self._read_only and position > self._flushed:
            self._flushed = position
            if not self._status_due:
                self._status_due = True
                self._loop.call_soon(self._send_status)

    async def store(self, position: Lsn) -> None:
        """Store `position` beside the outbox, with the system that it belongs to."""
        if not self._read_only:
            await self._store.save(position, system_identifier=self._system.identifier, timeline=self._system.timeline)

    def close(self) -> None:
        """Send what is confirmed, and stop answering."""
        self._timer.cancel()
        self._send_status()

    def _read(self, frame: frames.XLogData | frames.Keepalive) -> OutboxEvent | Boundary | None:
        if isinstance(frame, frames.XLogData):
            item = self._decoder.decode(frame.payload)
            if isinstance(item, Boundary):
                self._handed_over = item.position
            return item
        if frame.reply_requested:
            self._send_status()
        # While the server reads old WAL up to the start, its keepalives lie below what is confirmed already.
        if self._decoder.in_transaction or frame.end <= self._handed_over:
            return None
        self._handed_over = frame.end
        return Boundary(frame.end)

    def _ping(self) -> None:
        self._timer = self._loop.call_later(self._interval, self._ping)
        self._send_status(ping=True)

    def _send_status(self, *, ping: bool = False) -> None:
        self._status_due = False
        self._connection.send(
            frames.standby_status(received=self._handed_over, flushed=self._flushed, now=time.time(), ping=ping)
        )


def check(facts: Facts, slot: str) -> None:
    """Raise SourceRefused, SlotMissing or SlotHeld for what would stop a stream; pure."""
    if facts.server_encoding != "UTF8":
        raise SourceRefused(
            f"the database's encoding is {facts.server_encoding}",
            remedy="the relay needs UTF8: move to such a database",
        )
    if facts.wal_level != "logical":
        raise SourceRefused(
            f"wal_level is {facts.wal_level}, not logical",
            remedy="ALTER SYSTEM SET wal_level = logical, then restart Postgres",
        )
    if facts.slot is None:
        raise SlotMissing(
            f"replication slot {slot!r} does not exist",
            remedy="run `relay setup`"
            if facts.checkpoint_lsn is None
            else f"it was lost: events after {facts.checkpoint_lsn} may be unpublished; `relay setup` says what to do",
        )
    if facts.slot_database != facts.database or facts.plugin != PLUGIN:
        raise SourceRefused(
            f"replication slot {slot!r} is for {facts.plugin} in database {facts.slot_database}",
            remedy=f"name another with RELAY_SLOT; the relay needs one for {PLUGIN} in database {facts.database}",
        )
    if facts.wal_status == "lost":
        raise SlotMissing(
            f"replication slot {slot!r} is lost: Postgres removed WAL that it needed (max_slot_wal_keep_size)",
            remedy=f"drop it with pg_drop_replication_slot('{slot}') and run `relay setup`, "
            "which says what may have been missed",
        )
    if facts.holder_pid is not None:
        raise SlotHeld(
            f"replication slot {slot!r} is held by {facts.holder_name!r}, pid {facts.holder_pid}"
            + (f", since {facts.holder_since:%Y-%m-%d %H:%M:%S %Z}" if facts.holder_since else ""),
            remedy="this relay stands by and takes over when the slot is free",
        )


def start_position(facts: Facts, system: System, slot: str, after: Lsn | None) -> Lsn:
    """Return where to stream from: the furthest position that is known to be confirmed on this very server; pure.

    A crash of Postgres sets the slot's own position back, so the stored one is taken when it is further. Raises
    SourceRefused when the stored position belongs to another cluster, lies ahead of this one, or when the slot is
    another one that begins after it.
    """
    confirmed = Lsn.parse(facts.confirmed_flush_lsn or "0/0")
    if facts.checkpoint_lsn is None:
        return max(confirmed, after or confirmed)
    stored = Lsn.parse(facts.checkpoint_lsn)
    if facts.checkpoint_system != system.identifier:
        raise SourceRefused(
            f"the checkpoint was stored on system {facts.checkpoint_system}, and this is {system.identifier}: "
            "a dump and restore renumbers the WAL",
            remedy="run `relay setup --accept-gap` to start from the new slot, after comparing what was published",
        )
    if stored > system.end:
        raise SourceRefused(
            f"the checkpoint {stored} is ahead of the server's WAL, which ends at {system.end}",
            remedy="this server lost WAL that was already published; run `relay setup --accept-gap` to go on "
            "from its slot",
        )
    if facts.checkpoint_slot != slot and confirmed > stored:
        raise SourceRefused(
            f"the checkpoint {stored} belongs to slot {facts.checkpoint_slot!r}, and {slot!r} begins after it, "
            f"at {confirmed}",
            remedy=f"set RELAY_SLOT={facts.checkpoint_slot}, or run `relay setup --accept-gap`",
        )
    return max(confirmed, stored, after or confirmed)
