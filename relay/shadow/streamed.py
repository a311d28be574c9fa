"""The WAL, streamed by the shadow through a temporary slot, which lives as long as its session.

The slot advances with what the shadow has read. It counts in nobody's budget: whoever watches the shadow ends it when
the slot retains too much.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from relay.core.event import Boundary
from relay.core.position import Lsn
from relay.core.transactions import Transactions
from relay.shadow.reading import Part
from relay.shadow.row import rows
from relay.sources.wal import temporary
from relay.sources.wal.connecting import connected
from relay.sources.wal.opening import Decoding, opened
from relay.sources.wal.published import Published
from relay.sources.wal.starting import PLUGINS
from relay.sources.wal.stream import Timings, WalStream
from relay.storage.facts import Facts, Owner
from relay.storage.server import Server
from relay.storage.sessions.refusals import check_wal_level
from relay.storage.state import Mode, State

_TRIED_AGAIN = "none is needed: it is tried again; `relay check` names these transactions"
_ADVANCE_EVERY = 1.0
"""Seconds."""
_FROM_NOW = Lsn(0)


class StreamedReader:
    """Opens the WAL of what `decoding` decodes; `plugin` is the one that was asked for, or `auto`: the slot's."""

    mode: Mode = "wal"

    def __init__(
        self, database_url: Callable[[], str], server: Server, owner: Owner, decoding: Decoding, *, plugin: str
    ) -> None:
        self._database_url = database_url
        self._server = server
        self._owner = owner
        self._decoding = decoding
        self._plugin = plugin

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Streamed"]:
        """Stream from now on; raises a Problem if the WAL cannot be read, or open transactions do not end in time."""
        facts, table = await self._server.facts(), await self._server.table()
        check_wal_level(facts.wal_level)
        plugin = self._chosen(facts)
        self._decoding.examine(table, plugin)
        slot, name = f"shadow_{secrets.token_hex(6)}", f"{self._owner.relay} shadow stream"
        connection = await connected(self._database_url(), self._server, facts, slot=slot, name=name)
        try:
            await temporary.create(connection, slot, plugin, what="the shadow's slot", remedy=_TRIED_AGAIN)
            async with opened(
                connection,
                _FROM_NOW,
                _Forgets(State("wal", None, None, Transactions())),
                plugin=plugin,
                decoding=self._decoding,
                facts=replace(facts, wal_sender_timeout_ms=await connection.sender_timeout()),
                table=table,
                writing=temporary.NOWHERE,
                timings=Timings(),
                observe=lambda _: None,
            ) as stream:
                yield Streamed(stream, slot)
        finally:
            await connection.close()

    def _chosen(self, facts: Facts) -> str:
        if self._plugin != "auto":
            return self._plugin
        return facts.plugin or facts.checkpoint_plugin or PLUGINS[0]


class Streamed:
    """Reads `stream`, whose temporary slot is `slot`."""

    def __init__(self, stream: WalStream, slot: str) -> None:
        self.slot: str | None = slot
        self._stream = stream
        self._since = 0
        self._loop = asyncio.get_running_loop()
        self._advance_at = self._loop.time()

    def count_from(self, transaction: int) -> None:
        """Return only events of `transaction`, and of later ones."""
        self._since = transaction

    async def next(self) -> Part:
        """Return what has arrived; raises SourceUnavailable when the stream breaks."""
        items = await self._stream.receive()
        reached = next((item.position for item in reversed(items) if isinstance(item, Boundary)), None)
        if reached is not None and self._loop.time() >= self._advance_at:
            self._advance_at = self._loop.time() + _ADVANCE_EVERY
            self._stream.confirm(reached)
            await self._stream.store(reached)
        # The rows of a transaction whose end has not come yet stand before its boundary all the same.
        return Part(rows(items, self._since), reached)


class _Forgets(Published):
    """Keeps no transactions: nothing goes on from where the shadow ends."""

    def ended(self, transaction: int, position: Lsn) -> None:
        """Forget it."""
