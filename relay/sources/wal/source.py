"""The outbox, read from the WAL through a replication slot."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from relay.core.errors import SourceStalled
from relay.core.observations import Observe, Streaming
from relay.core.position import Lsn, Position
from relay.sources.wal.connecting import connected
from relay.sources.wal.opening import Decoding, opened
from relay.sources.wal.starting import check, start_position
from relay.sources.wal.stream import Timings, WalStream, Writing
from relay.storage.facts import System
from relay.storage.server import Server


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """Which slot is read, by which relay."""

    name: str
    relay: str
    plugin: str
    """The plugin that was asked for, or `auto`: whatever the slot has."""


class WalSource:
    """Opens streams from a slot; `database_url` is asked at each connect, so that a changed password is picked up.

    `writing` gives what a stream writes, from the system and the slot's plugin. Without it, slot and stored position
    stay where they are.
    """

    def __init__(  # noqa: PLR0913 - made in one place, by the composition root
        self,
        database_url: Callable[[], str],
        server: Server,
        slot: SlotRequest,
        decoding: Decoding,
        *,
        writing: Callable[[System, str], Writing] | None,
        observe: Observe,
        timings: Timings = Timings(),  # noqa: B008 - frozen
    ) -> None:
        self._database_url = database_url
        self._server = server
        self._slot = slot
        self._decoding = decoding
        self._writing = writing
        self._observe = observe
        self._timings = timings
        self._system: System | None = None

    @asynccontextmanager
    async def open(self, after: Position | None) -> AsyncIterator[WalStream]:
        """Check everything, then stream after `after` or the stored position, whichever holds on this server."""
        facts = await self._server.facts()
        plugin = check(facts, self._slot.name, plugin=self._slot.plugin)
        connection = await connected(
            self._database_url(),
            self._server,
            facts,
            slot=self._slot.name,
            name=self._slot.relay,
            proven=self._system is not None,
        )
        try:
            system = await connection.identify()
            start = start_position(facts, system, self._slot.name, self._known(after, system))
            table = await self._server.table()
            async with opened(
                connection,
                start,
                plugin=plugin,
                decoding=self._decoding,
                facts=facts,
                table=table,
                writing=None if self._writing is None else self._writing(system, plugin),
                timings=self._timings,
                observe=self._observe,
            ) as stream:
                self._system = system
                details = {"slot": self._slot.name, "plugin": plugin, "timeline": system.timeline}
                self._observe(Streaming("wal", start, details))
                factor, self._timings = self._timings.factor, replace(self._timings, factor=1)
                try:
                    yield stream
                except SourceStalled:
                    if not stream.lively:
                        self._timings = replace(self._timings, factor=factor * 2)
                    raise
        finally:
            await connection.close()

    def _known(self, after: Position | None, system: System) -> Lsn | None:
        """Return `after` if this process confirmed it on this very system."""
        before = self._system
        same = before is not None and (before.identifier, before.timeline) == (system.identifier, system.timeline)
        return after if same and isinstance(after, Lsn) else None
