"""The outbox, read from the WAL through a replication slot."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from relay.core.errors import SourceStalled, SourceUnavailable
from relay.core.observations import Observe, Streaming
from relay.core.position import Lsn, Position
from relay.sources.wal.connecting import connected
from relay.sources.wal.opening import Decoding, opened
from relay.sources.wal.starting import plugin_of, require_free, start_position
from relay.sources.wal.stream import Timings, WalStream, Writing
from relay.storage.facts import Facts, Owner, System
from relay.storage.server import Server


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
        self._system: System | None = None
        self._pid: int | None = None

    @asynccontextmanager
    async def open(self, after: Position | None) -> AsyncIterator[WalStream]:
        """Check everything, then stream after the stored position, or after `after` if that counts here.

        A standby checks everything too, before it waits for the slot: what is wrong shows before it takes over.
        """
        facts = await self._server.facts()
        plugin = plugin_of(facts, self._owner, plugin=self._plugin)
        table = await self._server.table()
        self._decoding.examine(table, plugin)
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
            start = start_position(facts, self._owner, self._known(after, facts, system))
            async with opened(
                connection,
                start,
                plugin=plugin,
                decoding=self._decoding,
                facts=facts,
                table=table,
                writing=self._writing,
                timings=self._timings,
                observe=self._observe,
            ) as stream:
                if self._writing is not None:
                    await self._writing.positions.claim(facts, plugin=plugin, timeline=system.timeline)
                self._system = system
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

    async def held(self) -> bool:
        """Ask whether the slot is still held by the server process of the stream that is open."""
        return await self._server.holder() == self._pid is not None

    def _known(self, after: Position | None, facts: Facts, system: System) -> Lsn | None:
        """Return `after` if what this process remembers counts: on this very server, and nobody else wrote since."""
        before = self._system
        same = before is not None and (before.identifier, before.timeline) == (system.identifier, system.timeline)
        counts = same and (self._writing is None or self._writing.positions.wrote(facts))
        return after if counts and isinstance(after, Lsn) else None
