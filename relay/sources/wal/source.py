"""The outbox, read from the WAL through a replication slot."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from relay.core.errors import SourceStalled, SourceUnavailable
from relay.core.observations import Observe, Streaming
from relay.core.position import Lsn
from relay.sources.wal.connecting import connected
from relay.sources.wal.opening import Decoding, opened
from relay.sources.wal.published import Published
from relay.sources.wal.starting import PLUGINS, plugin_of, require_free, start_position
from relay.sources.wal.stream import Timings, WalStream, Writing
from relay.storage.facts import Facts, Owner, TableFacts
from relay.storage.server import Server
from relay.storage.sessions.refusals import check_wal_level
from relay.storage.state import State


class WalSource:
    """Opens streams from a slot; `database_url` is asked at each connect, so that a changed password is picked up.

    `plugin` is the one that was asked for, or `auto`: whatever the slot has. `writing` is what a stream writes. Without
    it, slot and stored position stay where they are.
    """

    def __init__(  # noqa: PLR0913 - made in one place, by the composition root
        self,
        database_url: Callable[[], str],
        server: Server,
        owner: Owner,
        decoding: Decoding,
        *,
        plugin: str,
        writing: Writing | None,
        observe: Observe,
        timings: Timings = Timings(),  # noqa: B008 - frozen
    ) -> None:
        self._database_url = database_url
        self._server = server
        self._owner = owner
        self._plugin = plugin
        self._decoding = decoding
        self._writing = writing
        self._observe = observe
        self._timings = timings
        self._pid: int | None = None

    def plugin(self, facts: Facts) -> str:
        """Return the output plugin of the slot, or the one that a new slot is made with."""
        if self._plugin != "auto":
            return self._plugin
        return facts.plugin or facts.checkpoint_plugin or PLUGINS[0]

    def examine(self, facts: Facts, table: TableFacts) -> str:
        """Return the slot's plugin; raises a Problem if the outbox cannot be streamed through it, whoever has it now.

        WalRefused is one that does not keep the table from being polled.
        """
        check_wal_level(facts.wal_level)
        plugin = plugin_of(facts, self._owner, plugin=self._plugin)
        self._decoding.examine(table, plugin)
        if facts.state is not None and facts.state.mode == "wal":
            start_position(facts, self._owner, None)
        return plugin

    @asynccontextmanager
    async def open(self, facts: Facts, table: TableFacts, state: State) -> AsyncIterator[WalStream]:
        """Stream from `state`, which was stored or is what this process has confirmed; raises what `examine` does."""
        plugin = self.examine(facts, table)
        require_free(facts, self._owner)
        connection = await connected(
            self._database_url(), self._server, facts, slot=self._owner.slot, name=self._owner.relay
        )
        try:
            self._pid = connection.pid
            facts = replace(facts, wal_sender_timeout_ms=await connection.sender_timeout())
            system = await connection.identify()
            if system.identifier != facts.system_identifier:
                raise SourceUnavailable(
                    f"two servers answer: system {facts.system_identifier} and system {system.identifier}",
                    remedy="name one server in RELAY_DATABASE_URL, or add target_session_attrs=read-write",
                )
            start = start_position(facts, self._owner, state.lsn)
            async with opened(
                connection,
                start,
                Published(state),
                plugin=plugin,
                decoding=self._decoding,
                facts=facts,
                table=table,
                writing=self._writing,
                timings=self._timings,
                observe=self._observe,
            ) as stream:
                details = {"slot": self._owner.slot, "plugin": plugin, "timeline": system.timeline}
                self._observe(Streaming("wal", start, details))
                factor, self._timings = self._timings.factor, replace(self._timings, factor=1)
                try:
                    yield stream
                except SourceStalled:
                    if not stream.lively:
                        self._timings = replace(self._timings, factor=factor * 2)
                    raise
        finally:
            self._pid = None
            await connection.close()

    async def probe(self, facts: Facts, table: TableFacts) -> None:
        """Try what a stream needs, and end it at once; raises what `open` would raise. Nothing moves."""
        connection = await connected(
            self._database_url(), self._server, facts, slot=self._owner.slot, name=f"{self._owner.relay} probe"
        )
        try:
            if facts.slot is not None and facts.wal_status != "lost" and facts.holder_pid is None:
                _, options = self._decoding.decoder(str(facts.plugin), table)
                await connection.start(Lsn.parse(facts.confirmed_flush_lsn or "0/0"), options)
        finally:
            await connection.close()

    async def held(self) -> bool:
        """Ask whether the slot is still held by the server process of the stream that is open."""
        return await self._server.holder() == self._pid is not None
