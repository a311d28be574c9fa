"""A range of the WAL, read once more from a copy of a slot, to its end.

A slot is no rewind: Postgres moves a start that lies before the slot's position up to it, and says nothing. So a slot
that lags behind is copied to a temporary one, in the session that streams it, and the copy's position is compared with
the start before anything is read. The slot that is copied does not move.

A transaction is in the range if its commit record begins in it: at `after` or later, and before `until`. Positions that
Postgres or the relay give are the end of a record, so that is the same as ending behind `after`, and at `until` at the
latest. Postgres leaves out by that rule what comes before a start.

The range has an end, and the server may be idle there. It has flushed the WAL up to the end, since the job was stored
behind it; so a keepalive with that position comes, or the next commit.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import psycopg
from psycopg.rows import tuple_row

from outboxkit import sql
from relay.core.errors import SlotMissing, SourceRefused, SourceStalled
from relay.core.event import Boundary, OutboxEvent
from relay.core.observations import Observe
from relay.core.position import Lsn, Position
from relay.core.transactions import Transactions
from relay.sources.wal.connecting import connected
from relay.sources.wal.opening import Decoding, opened
from relay.sources.wal.published import Published
from relay.sources.wal.replication import ReplicationConnection
from relay.sources.wal.starting import PLUGINS
from relay.sources.wal.stream import Timings, WalStream, Writing
from relay.storage.facts import Facts, System
from relay.storage.server import Server
from relay.storage.sessions.refusals import check_wal_level, from_postgres
from relay.storage.sessions.session import Session
from relay.storage.state import State

_COPY_WITHIN = "60s"


@dataclass(frozen=True, slots=True)
class WalRange:
    """What is read once more: the transactions whose commit records begin in [after, until) of one system's WAL."""

    slot: str
    """Which slot is copied."""
    after: Lsn
    until: Lsn
    system_identifier: str
    timeline: int
    first_event: str | None = None
    """The id of an event in the first transaction of the range: those before it are left out."""
    last_event: str | None = None
    """The id of an event in the last transaction: those behind it are left out."""


class Within(Published):
    """What a stream passes over: everything outside a range. It notes where each event of the range was committed."""

    def __init__(self, after: Lsn, until: Lsn) -> None:
        super().__init__(State("wal", None, None, Transactions()))
        self._after = after
        self._until = until
        self.commits: deque[Lsn] = deque()
        """Where the commit record of each event begins that was let through, in order."""

    @property
    def filtering(self) -> bool:
        """Whether anything may be passed over."""
        return True

    def polled(self, transaction: int | None, commits_at: Lsn) -> bool:
        """Return whether a transaction whose commit record begins at `commits_at` is outside the range."""
        del transaction
        if not self._after <= commits_at < self._until:
            return True
        self.commits.append(commits_at)
        return False

    def ended(self, transaction: int, position: Lsn) -> None:
        """Nothing is kept: no poll goes on from here."""


class RangeStream:
    """The events of a range, and boundaries up to its end; behind that, `receive` waits without end."""

    def __init__(self, stream: WalStream, within: Within, wanted: WalRange) -> None:
        self._stream = stream
        self._within = within
        self._range = wanted
        self._waiting_for = wanted.first_event if stream.start == wanted.after else None
        self._last_seen = False
        self._read_all = False
        self.ended = asyncio.Event()
        """Set when everything in the range is confirmed."""

    @property
    def start(self) -> Lsn:
        """The position that it reads after."""
        return self._stream.start

    async def receive(self) -> Sequence[OutboxEvent | Boundary[Lsn]]:
        """Return what has arrived of the range, at least one item; raises as WalStream does."""
        if self._read_all:
            await asyncio.get_running_loop().create_future()
        while not (items := [item for item, _ in self._wanted(await self._stream.receive())]):
            pass
        return items

    async def located(self) -> Sequence[tuple[OutboxEvent | Boundary[Lsn], Lsn | None]]:
        """Return what has arrived, each event with where its commit record begins; empty behind the end."""
        return [] if self._read_all else self._wanted(await self._stream.receive())

    @property
    def read_all(self) -> bool:
        """Whether the end of the range was read."""
        return self._read_all

    def confirm(self, position: Lsn) -> None:
        """Note that everything up to `position` is confirmed."""
        self._stream.confirm(position)
        if position >= self._range.until:
            self.ended.set()

    async def store(self, position: Lsn) -> None:
        """Store `position` as how far the job is, and let the copy of the slot go on to it."""
        await self._stream.store(position)

    async def run(self) -> None:
        """Do nothing, until cancelled: this stream writes no fences."""
        await asyncio.get_running_loop().create_future()

    def _wanted(
        self, items: Sequence[OutboxEvent | Boundary[Lsn]]
    ) -> list[tuple[OutboxEvent | Boundary[Lsn], Lsn | None]]:
        found: list[tuple[OutboxEvent | Boundary[Lsn], Lsn | None]] = []
        for item in items:
            if isinstance(item, OutboxEvent):
                commits_at = self._within.commits.popleft()
                if not self._left_out(item):
                    found.append((item, commits_at))
            elif item.position >= self._range.until:
                found.append((replace_position(item, self._range.until), None))
                self._read_all = True
                break
            else:
                found.append((item, None))
        return found

    def _left_out(self, event: OutboxEvent) -> bool:
        """Return whether `event` is before the first event that is wanted, or behind the last one."""
        if self._waiting_for is not None:
            if event.id != self._waiting_for:
                return True
            self._waiting_for = None
        left_out = self._last_seen
        self._last_seen = self._last_seen or event.id == self._range.last_event
        return left_out


def replace_position(boundary: Boundary[Lsn], position: Lsn) -> Boundary[Lsn]:
    """Return `boundary` at `position`."""
    return Boundary(position, boundary.committed_at)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What a stream stores its position with."""

    save_lsn: Callable[[Lsn], Awaitable[None]]

    async def save(self, state: State) -> None:
        if state.lsn is not None:
            await self.save_lsn(state.lsn)


class _NoFences:
    """A replay writes no fences, since nothing polls from where it stands."""

    async def emit(self, token: str) -> str | None:
        raise NotImplementedError(token)


class WalReplay:
    """The source of a replay from the WAL; `store` stores how far it is, before the copy goes on to there."""

    def __init__(  # noqa: PLR0913 - made in one place, by the composition root
        self,
        database_url: Callable[[], str],
        session: Session,
        server: Server,
        decoding: Decoding,
        wanted: WalRange,
        *,
        name: str,
        plugin: str,
        store: Callable[[Lsn], Awaitable[None]] | None,
        observe: Observe,
    ) -> None:
        self._database_url = database_url
        self._session = session
        self._server = server
        self._decoding = decoding
        self._range = wanted
        self._name = name
        self._plugin = plugin
        self._store = store
        self._observe = observe
        self._timings = Timings()

    @asynccontextmanager
    async def open(self, after: Position | None) -> AsyncIterator[RangeStream]:
        """Read the range behind `after`, which was confirmed, or from its begin.

        Raises SourceRefused if the range is of another server or timeline, or the slot does not have all of it.
        """
        wanted = self._range
        start = after if isinstance(after, Lsn) else wanted.after
        facts, table = await self._server.facts(), await self._server.table()
        check_wal_level(facts.wal_level)
        plugin = self._plugin_of(facts)
        self._decoding.examine(table, plugin)
        slot = f"replay_{secrets.token_hex(6)}"
        connection = await connected(self._database_url(), self._server, facts, slot=slot, name=self._name)
        try:
            require_same(wanted, await connection.identify())
            await self._copy(connection, slot, plugin)
            await self._require_whole(slot, start)
            within = Within(start, wanted.until)
            facts = replace(facts, wal_sender_timeout_ms=await connection.sender_timeout())
            async with opened(
                connection,
                start,
                within,
                plugin=plugin,
                decoding=self._decoding,
                facts=facts,
                table=table,
                writing=None if self._store is None else Writing(_Stored(self._store), _NoFences()),
                timings=self._timings,
                observe=self._observe,
            ) as stream:
                try:
                    yield RangeStream(stream, within, wanted)
                except SourceStalled:  # a server that decodes a large transaction sends nothing meanwhile
                    self._timings = replace(self._timings, factor=self._timings.factor * 2)
                    raise
        finally:
            await connection.close()

    async def held(self) -> bool:
        """Return True: nobody else reads the copy."""
        return True

    def _plugin_of(self, facts: Facts) -> str:
        """Return the plugin to read with: the one of the relay's slot, if there is one."""
        if self._plugin != "auto":
            return self._plugin
        known = (facts.plugin, facts.checkpoint_plugin)
        return next((plugin for plugin in known if plugin in PLUGINS and plugin is not None), PLUGINS[0])

    async def _copy(self, connection: ReplicationConnection, slot: str, plugin: str) -> None:
        timeout = sql.query("statement_timeout"), {"timeout": _COPY_WITHIN}
        copying = sql.query("slot_copy"), {"slot": self._range.slot, "copy": slot, "plugin": plugin}
        try:
            await connection.execute(timeout, copying)
        except psycopg.Error as error:
            raise from_postgres(error, slot=self._range.slot, done="streaming") from error

    async def _require_whole(self, slot: str, start: Lsn) -> None:
        """Raise SourceRefused if the copy `slot` does not begin at `start` or before it."""
        found = await self._session.fetch(tuple_row, "slot_position", {"slot": slot})
        if found is None:
            raise SlotMissing(f"replication slot {slot!r} does not exist", remedy="run it again")
        oldest = Lsn.parse(found[0])
        if oldest > start:
            raise gone(self._range.slot, start, oldest)


def gone(slot: str, start: Lsn, oldest: Lsn) -> SourceRefused:
    """Return the problem of a range that begins at `start`, where `slot` has nothing before `oldest`."""
    return SourceRefused(
        f"the replay begins at {start}, and replication slot {slot!r} has the WAL from {oldest} on",
        remedy=f"the oldest position that it can be replayed from is --from-lsn {oldest}",
    )


def require_same(wanted: WalRange, system: System) -> None:
    """Raise SourceRefused if a range is of another system or timeline than the server that answers."""
    if wanted.system_identifier != system.identifier:
        raise SourceRefused(
            f"the range is of system {wanted.system_identifier}, and this is system {system.identifier}",
            remedy="correct RELAY_DATABASE_URL; or make a new replay, with a position of this server from "
            "`relay positions`",
        )
    if wanted.timeline != system.timeline:
        raise SourceRefused(
            f"the range is of timeline {wanted.timeline}, and the server is on timeline {system.timeline}: a standby "
            "was promoted since, and its WAL may differ",
            remedy="make a new replay, with a position of this timeline from `relay positions`, or from the table",
        )
