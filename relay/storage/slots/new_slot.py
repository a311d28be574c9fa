"""Makes a replication slot while something else goes on.

Postgres makes a logical slot when every transaction that has an id has ended, in every database, and that may take
hours. Its row is there from the beginning; it is made when it has a position and its maker has left it. The server
goes on making it for a second after its client has disappeared (sql/queries/slot_create_abandoned.sql).
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row, scalar_row

from outboxkit import sql
from outboxkit.errors import Problem
from relay.core.errors import NotOurs, SlotHeld, SourceRefused
from relay.core.position import Lsn
from relay.storage.sessions.session import Session
from relay.storage.slots.obstacles import Obstacle

_LOOK_EVERY = 0.25
_QUIET = 1.0
_AS_LONG_AS_IT_TAKES = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Found:
    """The slot, as far as it is made; the columns of sql/queries/slot_made.sql."""

    database: str | None
    plugin: str | None
    active_pid: int | None
    start: str | None
    lost: bool
    here: bool
    """Whether it belongs to this database."""


class NewSlot:
    """Makes the slot `name`: on `making`, which does nothing else, while `asking` tells how far it is."""

    def __init__(self, making: Session, asking: Session, *, name: str, failover: bool) -> None:
        self._making = making
        self._asking = asking
        self._name = name
        self._create = "slot_create_failover" if failover else "slot_create"

    async def find(self) -> Found | None:
        """Return the slot that is there now; raises SourceUnavailable."""
        return await self._asking.fetch(class_row(Found), "slot_made", {"slot": self._name})

    async def make(self, plugin: str, waits: Callable[[Sequence[Obstacle]], None]) -> Lsn:
        """Return the start of the slot, once it is made; a lost one is dropped before.

        `waits` is told who holds it up. Raises SourceUnavailable or SourceRefused if Postgres refuses it, NotOurs if
        somebody else has it, and SlotHeld if it is in use.
        """
        creating: asyncio.Task[None] | None = None
        tell_at = asyncio.get_running_loop().time() + _QUIET
        try:
            while (start := self._start(found := await self.find(), plugin, making=creating is not None)) is None:
                if found is not None and found.lost:
                    await self.drop()
                elif found is None and creating is None:
                    creating = asyncio.create_task(self._make(plugin))
                if await _done(creating):
                    creating = None
                elif asyncio.get_running_loop().time() > tell_at:
                    tell_at = math.inf
                    waits(await self._obstacles())
            return start
        finally:
            if creating is not None:
                creating.cancel()
                with suppress(asyncio.CancelledError, Problem):
                    await creating
                await self._making.close()  # its server process ends the making within a second

    def _start(self, found: Found | None, plugin: str, *, making: bool) -> Lsn | None:
        """Return where the slot that was `found` begins, if it is made; raises a Problem if it cannot be ours."""
        if found is None:
            return None
        self._require_ours(found, plugin)
        if found.start is None or found.lost:
            return None
        if found.active_pid is None:
            return Lsn.parse(found.start)
        if not making:
            raise self._held(found)
        return None

    async def drop(self) -> None:
        """Drop the slot, if it is there and nobody uses it; raises SlotHeld, SourceUnavailable or SourceRefused."""
        await self._asking.execute("slot_drop", {"slot": self._name})

    async def next_transaction(self) -> int:
        """Draw a transaction id: whatever had one when the slot was made has a smaller one."""
        return int(str(await self._asking.fetch(scalar_row, "transaction_next", {})))

    async def written(self) -> Lsn:
        """Return where the WAL ends that was written, flushed or not."""
        return Lsn.parse(str(await self._asking.fetch(scalar_row, "wal_insert", {})))

    async def _make(self, plugin: str) -> None:
        await self._making.execute(self._create, {"slot": self._name, "plugin": plugin}, seconds=_AS_LONG_AS_IT_TAKES)

    async def _obstacles(self) -> Sequence[Obstacle]:
        async def ask(connection: psycopg.AsyncConnection[object]) -> Sequence[Obstacle]:
            cursor = connection.cursor(row_factory=class_row(Obstacle))
            await cursor.execute(sql.query("slot_waits_for"), {"slot": self._name})
            return await cursor.fetchall()

        return await self._asking.work(ask)

    def _require_ours(self, found: Found, plugin: str) -> None:
        if not found.here:
            raise NotOurs(
                f"replication slot {self._name!r} belongs to database {found.database!r}",
                remedy="set RELAY_SLOT to another name, then run `relay setup`",
            )
        if found.plugin != plugin:
            raise SourceRefused(
                f"replication slot {self._name!r} was made with {found.plugin}, and not by this relay",
                remedy="if nobody else uses it, drop it with pg_drop_replication_slot: the relay makes its own then; "
                "otherwise `relay setup` says how this relay gets another name for its slot",
            )

    def _held(self, found: Found) -> SlotHeld:
        return SlotHeld(
            f"replication slot {self._name!r} is in use by pid {found.active_pid}",
            remedy="the relay goes back to the WAL when the slot is free",
        )


async def _done(creating: asyncio.Task[None] | None) -> bool:
    """Wait a moment; return whether `creating` is done, and raise what it raised."""
    if creating is None:  # somebody else is making it: the server process of a relay that has just died
        await asyncio.sleep(_LOOK_EVERY)
        return False
    await asyncio.wait({creating}, timeout=_LOOK_EVERY)
    if creating.done():
        creating.result()
    return creating.done()
