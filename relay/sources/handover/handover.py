"""Two sources without a gap: the WAL, the polled table, and the changes between them.

What a relay has published is stored in one row, in the terms of both sources (relay/storage/state.py):

    p   a position in the WAL: every event of a transaction that ends at or before it is published
    S   a snapshot: every event of a transaction that it sees is published
    K   transactions that are published and that S does not see
    N,F a filter for a stream: what N sees, or K holds, was published if its commit record begins before F

Where p, S and K come from. While it streams, the relay writes fences: transactions that carry the snapshot they ran
with. A commit record is written before its transaction becomes visible, so all that a fence's snapshot sees lies
before the fence in the WAL. When everything before a fence is confirmed, its snapshot is S. The reverse does not
hold: a transaction is in the WAL before it is visible, and under a slow synchronous standby long before. So what was
streamed and S does not see is K. A poll's snapshot is S as soon as all its rows are confirmed, and only once it is
flushed: a transaction that is visible and not flushed may be taken back by a crash, and its id given out again.

From the WAL to polling. Poll what S does not see, and pass over K. Each transaction is published once: those that S
sees or K holds were streamed, all others are polled. If the stream broke, S and K are of its last confirmed position;
what was streamed behind that, part of one transaction at most and what was not confirmed, goes again under the same
ids.

From polling to the WAL, over a slot that nobody moved meanwhile. Read F, the end of the WAL, after the last snapshot N
was polled. Stream from p, and pass over what N sees and what K holds, if its commit record begins before F. What N sees
was polled. What N does not see, and K does not hold, was not published by anybody. F ends the filter: N sees nothing
that commits behind it, since F was read after N.

From polling to the WAL, over a new slot. A slot begins somewhere in the WAL, and has only transactions that commit
behind that place. All others must have been polled:

    1. Store the intent. Make the slot, while polling goes on. It is made when its row has a position and its maker has
       left it; its row is there before that.
    2. Then draw X, a transaction id, in a transaction of its own. Whatever committed before the slot's place has a
       smaller id: it had one when the slot was made. (The end of a snapshot bounds nothing: it is the last completed id
       plus one.)
    3. Poll until a snapshot N has no running transaction at or before X. Then each transaction that committed before
       the slot's place is seen by N, also one whose commit was written and not visible yet.
    4. Read F after N. Store, in one update, the mode, N, F, S = N, K, and p = the slot's place. Stream from p with the
       filter.

N sees it: it was polled, and the filter passes over it. N does not see it: its id is above X or it was still running,
so it commits behind the slot's place, and is streamed. The first start goes the same way: setup stores S, then makes
the slot, and what commits between the two is polled.

Each step is stored before it is acted on, in one row guarded by an epoch, so a crash at any place goes on from the row:

    stored                   after a crash
    S, K (polling)           polls from S
    the intent               no slot: makes it; half made: waits for its maker to end; made: a new X
    mode wal, N, F, S, p, K  streams from p with the filter; without the slot, polls from S
    S, p, K                  streams from p; without the slot, polls from S, passing over K

What a process remembers counts as long as the server runs that it learned it from. After a restart of Postgres only the
row counts: the server may be an older copy, or have lost what was not flushed, and then gives ids out again.

A table that has no `tx`, or an outbox of messages, cannot be polled: there is no S, and the WAL is all there is.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from outboxkit.errors import Problem
from relay.core.errors import RepairNeeded, SourceRefused, Switched, WalRefused
from relay.core.lifetime.supervisor import Supervisor
from relay.core.observations import HandedOver, NotHandedOver, NotPolled, NotStored, Observe, SlotWaits
from relay.core.ports import Stream
from relay.core.position import Lsn, Position, Snapshot
from relay.sources.handover.deciding import Wanted, bound, choose, kept, lasting
from relay.sources.polling.source import PollingSource
from relay.sources.polling.stream import PollingStream
from relay.sources.preconditions import require_snapshot, require_state
from relay.sources.tables import Unreadable
from relay.sources.wal.ownership import require_position, require_slot
from relay.sources.wal.source import WalSource
from relay.sources.wal.stream import WalStream
from relay.storage.facts import Facts, Owner, TableFacts
from relay.storage.history import History
from relay.storage.leadership import Leadership
from relay.storage.position import StoredPosition
from relay.storage.server import Server
from relay.storage.slots.new_slot import NewSlot
from relay.storage.slots.obstacles import Obstacle, ends
from relay.storage.state import Mode, State

_LOOK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Return:
    """When a relay goes back to the WAL by itself."""

    return_after: float = 60.0
    """Seconds for which nothing must have been wrong with the WAL."""
    slots_per_hour: int = 3


@dataclass(frozen=True, slots=True)
class Parts:
    """What a relay that stores its position has beside its sources."""

    leadership: Leadership
    positions: StoredPosition
    history: History
    slot: NewSlot


class Handover:
    """The source of a relay: the WAL or the polled table, as `source` says, and the changes between them.

    Without `parts`, nothing is stored and no source follows another.
    """

    def __init__(  # noqa: PLR0913 - made in one place, by the composition root
        self,
        server: Server,
        owner: Owner,
        wal: WalSource,
        polling: PollingSource | None,
        parts: Parts | None,
        *,
        source: Wanted,
        policy: Return,
        observe: Observe,
    ) -> None:
        self._server = server
        self._owner = owner
        self._wal = wal
        self._polling = polling
        self._parts = parts
        self._source = source
        self._policy = policy
        self._observe = observe
        self._last: WalStream | PollingStream | None = None
        self._mode: Mode | None = None
        """The mode of the stream that is open."""
        self._refused: Problem | None = None
        """Why the WAL was last found unreadable by trying."""
        self._over_budget = asyncio.Event()
        """Whether the slot retains more WAL than it may."""

    async def active(self) -> bool:
        """Ask whether this relay is the active one; raises SourceUnavailable if there is no answer."""
        return self._parts is not None and await self._parts.leadership.held()

    async def retains_too_much(self) -> None:
        """Let the slot go, which retains more WAL than it may, and poll; raises a Problem if that cannot be done now.

        An open stream ends in order first. Without one, as when the broker is away, the slot is dropped at once: what
        it has is in the table, and it is polled from the stored snapshot.
        """
        if self._mode is not None:
            self._over_budget.set()
        elif self._parts is not None and await self._parts.leadership.held():
            facts, table = await self._server.facts(), await self._server.table()
            unpollable = self._unpollable(facts, table, require_state(facts, self._owner.relay))
            if unpollable is not None:
                raise unpollable
            await self._let_go(self._parts, facts)

    @asynccontextmanager
    async def open(self, after: Position | None) -> AsyncIterator[Stream[Any]]:
        """Check everything, become the active relay, and open the source that is due, behind what was published."""
        facts = await self._server.facts()
        table = await self._server.table()
        wanted = self._wanted(facts)
        if wanted != "polling":
            require_slot(facts, self._owner)
        require_position(facts, self._owner)
        state = self._known(after, facts)
        unpollable = self._unpollable(facts, table, state)
        bound_to = bound(self._source, wanted, unpollable)
        if bound_to == "auto" and unpollable is not None:
            self._observe(NotPolled(unpollable))
        refused = None if bound_to == "polling" else self._unstreamable(facts, table)
        choice = choose(state, bound_to, refused, unpollable)
        if choice.mode == "polling":
            await self._require_own_session()
        async with AsyncExitStack() as stack:
            if self._parts is not None:
                await self._parts.leadership.take()
                await self._parts.positions.claim(facts, plugin=facts.plugin if choice.mode == "wal" else None)
            stream: WalStream | PollingStream
            if choice.mode == "wal":
                try:
                    stream = await stack.enter_async_context(self._wal.open(facts, table, state))
                except (WalRefused, RepairNeeded) as problem:
                    self._refused = problem
                    choice = choose(state, bound_to, problem, unpollable)
                    await self._require_own_session()
            if choice.mode == "polling":
                assert self._polling is not None  # noqa: S101 - it would be unpollable
                if state.mode == "wal":
                    state = await self._fall_back(state, choice.reason, choice.detail)
                elif self._source == "wal":  # what keeps it from the WAL is said before its first poll, not after it
                    await self._wal.probe(facts, table)
                stream = await stack.enter_async_context(self._polling.open(facts, table, state))
            self._last, self._mode = stream, choice.mode
            try:
                yield _Watched(stream, self._beside(stream), self._observe)
            finally:
                self._mode = None

    async def held(self) -> bool:
        """Ask whether this process is still the active relay, and its slot, if it streams, still its own."""
        if self._parts is not None and not await self._parts.leadership.held():
            return False
        return self._mode != "wal" or await self._wal.held()

    # Opening.

    def _known(self, after: Position | None, facts: Facts) -> State:
        """Return what is published: what this process remembers, if the row is the one that it wrote; else the row."""
        stored = require_state(facts, self._owner.relay)
        if after is None or self._last is None or self._parts is None or not self._parts.positions.wrote(facts):
            return stored
        remembered = self._last.state(after)  # type: ignore[arg-type]  # it gave this position
        return replace(remembered, making_slot=stored.making_slot)

    def _wanted(self, facts: Facts) -> Wanted:
        return self._source if self._source != "auto" else facts.checkpoint_wanted or "auto"

    def _unpollable(self, facts: Facts, table: TableFacts, state: State) -> Problem | None:
        if self._polling is None:
            return SourceRefused("an outbox of logical messages has no table to poll", remedy="use RELAY_SOURCE=wal")
        try:
            require_snapshot(state)
            self._polling.examine(facts, table)
        except (SourceRefused, Unreadable) as problem:
            return problem
        return None

    def _unstreamable(self, facts: Facts, table: TableFacts) -> Problem | None:
        tried, self._refused = self._refused, None
        try:
            self._wal.examine(facts, table)
        except WalRefused as problem:
            return problem
        return tried

    async def _require_own_session(self) -> None:
        """Raise RepairNeeded behind a pooler: its session would keep the lock of a relay that has vanished.

        A stream has its slot besides, which no two relays can have.
        """
        if self._parts is not None and await self._server.pooled():
            raise RepairNeeded(
                "a connection pooler is between the relay and Postgres: it would keep the lock of the active relay "
                "when that has vanished",
                remedy="set RELAY_DATABASE_URL to Postgres itself",
            )

    async def _fall_back(self, state: State, reason: str, detail: str) -> State:
        """Store that polling goes on from `state`."""
        polled = state.polled_on()
        await self._change("wal", polled, reason, detail, self._save, duplicates=None)
        self._last = None  # the row has what it knew: if the poll does not open, the WAL is not left once more
        return polled

    async def _save(self, state: State) -> None:
        if self._parts is not None:
            await self._parts.positions.save(state)

    async def _change(  # noqa: PLR0913 - what a change is
        self,
        source: Mode,
        state: State,
        reason: str,
        detail: str,
        save: Callable[[State], Awaitable[None]],
        *,
        duplicates: int | None,
        new_slot: bool = False,
    ) -> None:
        await save(state)
        change = HandedOver(source, state.mode, reason, detail, state.position, duplicates)
        self._observe(change)
        if self._parts is not None:
            with suppress(Problem):  # the history is for people and limits; the row has what counts
                await self._parts.history.note(change, state, new_slot=new_slot)

    # Beside an open stream.

    def _beside(self, stream: WalStream | PollingStream) -> Callable[[], Awaitable[None]] | None:
        parts = self._parts
        if parts is None:
            return None

        async def beside() -> None:
            async with Supervisor(self._observe) as tasks:
                tasks.start("leadership", parts.leadership.run())
                if isinstance(stream, WalStream):
                    tasks.start("hand-over", self._until_left(stream, parts))
                elif self._source == "polling":
                    tasks.start("budget", self._within_budget(parts))
                else:
                    tasks.start("hand-over", self._until_back(stream, parts))
                await tasks.failure

        return beside

    async def _until_left(self, stream: WalStream, parts: Parts) -> None:
        """Wait until polling is to go on, then end the stream in order; raises Switched."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._over_budget.wait()
            try:
                if (reason := await self._leaving(parts)) is None:
                    continue
                facts, table = await self._server.facts(), await self._server.table()
                if (unpollable := self._unpollable(facts, table, stream.published())) is not None:
                    raise unpollable
            except Problem as problem:
                self._observe(NotHandedOver("polling", problem))
                await asyncio.sleep(_LOOK_EVERY)
                continue
            position = await stream.finish()
            state = stream.state(position).polled_on()
            await self._change("wal", state, reason, "in order", stream.hand_over, duplicates=0)
            raise Switched("polling goes on where the stream ends", remedy="none is needed")

    async def _leaving(self, parts: Parts) -> str | None:
        """Return why the WAL is to be left, if it is."""
        if self._over_budget.is_set():
            return "budget"
        if self._source == "auto" and await parts.history.wanted() == "polling":
            return "asked for"
        return None

    async def _until_back(self, stream: PollingStream, parts: Parts) -> None:
        """Wait until the WAL can be read, then end the poll in order; raises Switched."""
        loop = asyncio.get_running_loop()
        healthy: float | None = None
        """Since when nothing is wrong with the WAL, on the loop's clock."""
        while True:
            try:
                facts = await self._server.facts()
                table = await self._server.table()
                state, wanted = require_state(facts, self._owner.relay), self._wanted(facts)
                if self._over_budget.is_set():
                    await self._let_go(parts, facts)
                if (refused := lasting(self._unstreamable(facts, table))) is not None:
                    raise refused
                healthy = loop.time() if healthy is None else healthy
                begun = state.lsn is None or state.making_slot
                due = begun or wanted == "wal" or loop.time() - healthy >= self._policy.return_after
                if due and wanted != "polling" and stream.caught_up:
                    await self._wal.probe(facts, table)
                    reason = "first start" if state.lsn is None else "asked for" if wanted == "wal" else "works again"
                    await self._return(stream, parts, facts, state, reason)
            except Problem as problem:
                if stream.ending or self._source == "wal":
                    raise
                healthy = None
                self._observe(NotHandedOver("wal", problem))
            await asyncio.sleep(_LOOK_EVERY)

    async def _within_budget(self, parts: Parts) -> None:
        """Drop the slot that nobody reads, when it retains more WAL than it may: what it has is in the table."""
        while True:
            await self._over_budget.wait()
            try:
                await self._let_go(parts, await self._server.facts())
            except Problem as problem:
                self._over_budget.clear()  # the guardian asks again
                self._observe(NotStored("dropping the slot that nobody reads", problem))

    async def _return(self, stream: PollingStream, parts: Parts, facts: Facts, state: State, reason: str) -> None:
        """Go back to the WAL, by the steps above."""
        new = not kept(state, facts)
        if new:
            p = await self._new_slot(stream, parts, facts)
            x = await parts.slot.next_transaction()
            last: Callable[[Snapshot], bool] = lambda snapshot: snapshot.xmin > x  # noqa: E731 - one of two
        else:
            assert state.lsn is not None  # noqa: S101 - it is kept
            p = state.lsn
            last = lambda _: True  # noqa: E731
        position = await stream.finish(last)
        end = await parts.slot.written()
        back = stream.state(position).streamed_on(p, end)
        made = new and _gone(facts)
        detail = "over a new slot" if made else "over the slot as it stands" if new else "over the slot that was kept"
        await self._change("polling", back, reason, detail, stream.hand_over, duplicates=0, new_slot=made)
        raise Switched("the WAL goes on where polling ends", remedy="none is needed")

    async def _new_slot(self, stream: PollingStream, parts: Parts, facts: Facts) -> Lsn:
        """Store the intent, and return the place of the slot once it is made."""
        if _gone(facts):
            slots = await parts.history.slots()
            if slots.made >= self._policy.slots_per_hour:
                raise SourceRefused(
                    f"{slots.made} slots were made within the last hour, and RELAY_SLOTS_PER_HOUR is "
                    f"{self._policy.slots_per_hour}",
                    remedy="relay.handover has the reason of each; the relay polls, and makes another one in "
                    f"{slots.seconds or 0:.0f} s",
                )
        await stream.intend()
        making = asyncio.create_task(parts.slot.make(self._wal.plugin(facts), self._waits))
        over = asyncio.create_task(self._over_budget.wait())
        try:
            await asyncio.wait({making, over}, return_when=asyncio.FIRST_COMPLETED)
            if making.done():
                return making.result()
            raise SourceRefused(
                "the WAL behind the new slot has reached RELAY_SLOT_BUDGET before the slot was made",
                remedy="end the transactions that hold it up: `relay check` names them",
            )
        finally:
            over.cancel()
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)

    async def _let_go(self, parts: Parts, facts: Facts) -> None:
        """Drop the slot, so that Postgres removes the WAL that it retains."""
        if facts.slot is not None:
            require_slot(facts, self._owner)
            await parts.slot.drop()
        self._over_budget.clear()

    def _waits(self, obstacles: Sequence[Obstacle]) -> None:
        names = "; ".join(map(str, obstacles))
        self._observe(
            SlotWaits(
                Problem(
                    f"it waits for the end of {names or 'a transaction'}",
                    remedy=f"{ends(obstacles)}; or wait: polling goes on meanwhile",
                )
            )
        )


def _gone(facts: Facts) -> bool:
    """Return whether there is no slot, or one that is replaced by a new one."""
    return facts.slot is None or facts.wal_status == "lost"


class _Watched:
    """A stream with what runs beside it."""

    def __init__(
        self, stream: WalStream | PollingStream, beside: Callable[[], Awaitable[None]] | None, observe: Observe
    ) -> None:
        self.start = stream.start
        self.receive: Any = stream.receive
        self.confirm: Any = stream.confirm
        self.store: Any = stream.store
        self._stream = stream
        self._beside = beside
        self._observe = observe

    async def run(self) -> None:
        """Run what the stream needs, and what watches it; raises what ends it."""
        async with Supervisor(self._observe) as tasks:
            tasks.start("stream", self._stream.run())
            if self._beside is not None:
                tasks.start("watch", self._beside())  # type: ignore[arg-type]
            await tasks.failure
