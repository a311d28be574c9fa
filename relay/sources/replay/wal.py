"""A range of the WAL, read once more from a copy of a slot, to its end.

A slot is no rewind: Postgres moves a start that lies before the slot's position up to it, and says nothing. So a slot
that lags behind is copied to a temporary one, in the session that streams it, and the copy's position is compared with
the start before anything is read. The slot that is copied does not move.

The server may be idle at the end of the range. Its WAL was flushed up to there when the range was made, so a keepalive
with that position comes, or a later commit.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from psycopg.rows import tuple_row

from outboxkit.errors import Problem
from relay.core.errors import SlotMissing, SourceRefused, SourceStalled
from relay.core.event import Boundary, OutboxEvent
from relay.core.observations import Observe
from relay.core.position import Lsn
from relay.core.replay import ReplayPosition, Selection, WalRange
from relay.sources.replay.within import Cut, Located, Within
from relay.sources.wal import temporary
from relay.sources.wal.connecting import connected
from relay.sources.wal.opening import Decoding, opened
from relay.sources.wal.starting import PLUGINS
from relay.sources.wal.stream import Timings, WalStream
from relay.storage.facts import Facts, System
from relay.storage.server import Server
from relay.storage.sessions.refusals import check_wal_level
from relay.storage.sessions.session import Session


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose WAL a range is of."""

    system_identifier: str
    timeline: int


_WITHOUT_RIGHT = (
    "a replay from the WAL needs it, and it opens the WAL of the whole cluster: run it with the relay's own role, such "
    "as outbox_relay of sql/roles.sql"
)


class NotInSlot(SourceRefused):
    """The slot does not have the begin of the range any more."""


class WalReading:
    """The events of a range that a selection takes; the last item of all is the boundary at its end."""

    def __init__(self, stream: WalStream, cut: Cut, wanted: WalRange, selection: Selection) -> None:
        self._stream = stream
        self._cut = cut
        self._range = wanted
        self._takes = selection.takes

    async def receive(self) -> Sequence[OutboxEvent | Boundary[ReplayPosition]]:
        """Return what comes next; raises a Problem if the event that the range begins with does not come."""
        items: list[OutboxEvent | Boundary[ReplayPosition]] = []
        while not items:
            for item in await self.located():
                if isinstance(item, Boundary):
                    items.append(Boundary(self._position(item.position), item.committed_at))
                elif self._takes(item.event):
                    items.append(item.event)
        return items

    async def located(self) -> Sequence[Located | Boundary[Lsn]]:
        """Return what has arrived of the range, whatever the selection, each event with its place."""
        found = self._cut.cut(await self._stream.receive())
        if self._cut.ended and self._cut.first_missing:
            raise _did_not_come(self._range)
        return found

    @property
    def ended(self) -> bool:
        """Whether the end of the range was read."""
        return self._cut.ended

    async def stored(self, position: ReplayPosition) -> None:
        """Let Postgres forget what is before `position`, in the copy of the slot: the job will not ask for it again."""
        if position.lsn is not None:
            await self._stream.store(position.lsn)

    async def run(self) -> None:
        """Do nothing, until cancelled: this stream writes no fences."""
        await asyncio.get_running_loop().create_future()

    def _position(self, lsn: Lsn) -> ReplayPosition:
        return ReplayPosition(lsn=lsn, complete=lsn >= self._range.until)


class _AtEnd:
    """A range of which everything is done."""

    def __init__(self, until: Lsn) -> None:
        self._until = until

    async def receive(self) -> Sequence[OutboxEvent | Boundary[ReplayPosition]]:
        return [Boundary(ReplayPosition(lsn=self._until, complete=True))]

    async def stored(self, position: ReplayPosition) -> None:
        del position

    async def run(self) -> None:
        await asyncio.get_running_loop().create_future()


class WalReader:
    """Opens `wanted`, a range of the WAL of `origin`, with `plugin`, which may be `auto`; `name` is its sessions'."""

    def __init__(  # noqa: PLR0913 - made in one place, by the composition root
        self,
        database_url: Callable[[], str],
        session: Session,
        server: Server,
        decoding: Decoding,
        wanted: WalRange,
        *,
        selection: Selection,
        origin: Origin,
        name: str,
        plugin: str,
        observe: Observe,
    ) -> None:
        self._database_url = database_url
        self._session = session
        self._server = server
        self._decoding = decoding
        self._range = wanted
        self._selection = selection
        self._origin = origin
        self._name = name
        self._plugin = plugin
        self._observe = observe
        self._timings = Timings()

    @asynccontextmanager
    async def open(self, after: ReplayPosition) -> AsyncIterator[WalReading | _AtEnd]:
        """Read the range behind `after`, or from its begin.

        Raises SourceRefused if the range is of another server or timeline, or the slot does not have all of it.
        """
        start = self._range.after if after.lsn is None else after.lsn
        if start >= self._range.until:
            yield _AtEnd(self._range.until)
            return
        async with self.reading(start) as reading:
            yield reading

    @asynccontextmanager
    async def reading(self, start: Lsn) -> AsyncIterator[WalReading]:
        """Read the range from `start` on; raises as `open` does."""
        wanted = self._range
        facts, table = await self._server.facts(), await self._server.table()
        check_wal_level(facts.wal_level)
        plugin = _plugin(facts, self._plugin)
        self._decoding.examine(table, plugin)
        slot = f"replay_{secrets.token_hex(6)}"
        connection = await connected(
            self._database_url(), self._server, facts, slot=slot, name=self._name, without_right=_WITHOUT_RIGHT
        )
        try:
            require_same(self._origin, await connection.identify())
            await temporary.copy(connection, wanted.slot, slot, plugin, done="streaming")
            await self._require_whole(slot, start)
            facts = replace(facts, wal_sender_timeout_ms=await connection.sender_timeout())
            within = Within(wanted.after, wanted.until)
            async with opened(
                connection,
                start,
                within,
                plugin=plugin,
                decoding=self._decoding,
                facts=facts,
                table=table,
                writing=temporary.NOWHERE,
                timings=self._timings,
                observe=self._observe,
            ) as stream:
                try:
                    yield WalReading(stream, Cut(within, wanted, start=start), wanted, self._selection)
                except SourceStalled:  # a server that decodes a large transaction sends nothing meanwhile
                    self._timings = replace(self._timings, factor=self._timings.factor * 2)
                    raise
        finally:
            await connection.close()

    async def _require_whole(self, slot: str, start: Lsn) -> None:
        """Raise NotInSlot if the copy `slot` does not begin at `start` or before it."""
        found = await self._session.fetch(tuple_row, "slot_position", {"slot": slot})
        if found is None:
            raise SlotMissing(f"replication slot {slot!r} does not exist", remedy="run it again")
        if (oldest := Lsn.parse(found[0])) > start:
            raise NotInSlot(
                f"the replay begins at {start}, and replication slot {self._range.slot!r} has the WAL from {oldest} on",
                remedy=f"the oldest that it can be replayed from is --from-lsn {oldest}",
            )


def require_same(origin: Origin, system: System) -> None:
    """Raise SourceRefused if a range is of another system or timeline than the server that answers."""
    if origin.system_identifier != system.identifier:
        raise SourceRefused(
            f"the range is of system {origin.system_identifier}, and this is system {system.identifier}",
            remedy="correct RELAY_DATABASE_URL; or make a new replay, with a position that `relay positions` lists",
        )
    if origin.timeline != system.timeline:
        raise SourceRefused(
            f"the range is of timeline {origin.timeline}, and the server is on timeline {system.timeline}: a standby "
            "was promoted, and its WAL may differ",
            remedy="make a new replay, with a position that `relay positions` lists for this timeline",
        )


def _plugin(facts: Facts, asked: str) -> str:
    """Return the plugin to read with: what was asked for, or that of the relay's slot, now or when it was stored."""
    known = (asked, facts.plugin, facts.checkpoint_plugin)
    return next((plugin for plugin in known if plugin is not None and plugin in PLUGINS), PLUGINS[0])


def _did_not_come(wanted: WalRange) -> Problem:
    return Problem(
        f"event {wanted.first_event} is not in the WAL between {wanted.after} and {wanted.until}",
        remedy="`relay positions` lists positions: use --from-lsn or --from-time instead",
    )
