"""The outbox, read by any number of pollers that share its rows."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from relay.core.errors import SourceRefused
from relay.core.event import OutboxEvent
from relay.core.evidence import Evidence
from relay.core.observations import Observe, Streaming
from relay.core.ports import RedriveStore, Stream
from relay.core.position import BatchPosition, Position
from relay.core.transactions import Transactions
from relay.sources import tables
from relay.sources.layout import Layout
from relay.sources.polling.skip_locked.batches import Batches
from relay.sources.polling.skip_locked.marks import Marks
from relay.sources.polling.skip_locked.statements import Statements, require_key, statements
from relay.sources.polling.skip_locked.stream import SkipLockedStream, Tidying, Work
from relay.sources.polling.statements import has_tx
from relay.sources.polling.stream import listen
from relay.sources.preconditions import require_primary, require_state
from relay.sources.wal.ownership import require_position
from relay.storage.facts import Facts, Owner, TableFacts
from relay.storage.leadership import Leadership
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from relay.storage.state import State

AGGREGATES_AT_A_TIME = 100
"""Rows of a batch that locks aggregates too: all sessions of a server share a table of locks, of 6,400 by default."""
_TIDY_EVERY, _TIDY_IDLE_EVERY, _TIDY_AFTER = 5.0, 60.0, 10
_COMPARE_EVERY = 3600.0
"""Seconds between two looks for marks of rows that are gone, where a table has no `tx`."""
_NEVER = 2**63


@dataclass(frozen=True, slots=True)
class Settings:
    """How pollers share a table."""

    interval: float
    """Seconds between two polls when there is nothing to publish."""
    batch: int
    """Rows that are locked at a time."""
    aggregates: bool
    """Whether the aggregates of a batch are locked too."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions with Postgres; what takes long, or is to answer while another waits, has one of its own."""

    batches: Session
    beside: Session
    marks: Session
    listening: Session | None


class SkipLockedSource:
    """Opens streams of the table; `layout` says from the table's facts how its rows are read."""

    def __init__(  # noqa: PLR0913 - made in one place, by the composition root
        self,
        server: Server,
        owner: Owner,
        sessions: Sessions,
        leadership: Leadership,
        layout: Callable[[TableFacts], Layout],
        *,
        settings: Settings,
        evidence: Evidence,
        observe: Observe,
    ) -> None:
        self._server = server
        self._owner = owner
        self._sessions = sessions
        self._leadership = leadership
        self._layout = layout
        self._settings = settings
        self._evidence = evidence
        self._observe = observe
        self._whose = {"relay": owner.relay, "outbox": owner.table or ""}
        self._last: tuple[SkipLockedStream, Batches] | None = None
        self._read: tuple[str, datetime] | None = None
        """The system of the last stream, and when its server was started."""
        if sessions.listening is not None:
            sessions.listening.call_at_notify(self._wake)

    @asynccontextmanager
    async def open(self, after: Position | None) -> AsyncIterator[Stream[Any]]:
        """Check everything, and share the table from now on; marks first what was confirmed and not marked.

        It is not marked on a server that was started again: after a failover, it may have other rows.
        """
        facts, table = await self._server.facts(), await self._server.table()
        read = facts.system_identifier, facts.server_started_at
        layout = self._layout(table)
        require_position(facts, self._owner)
        examine(facts, table, layout)
        await self._leadership.take()
        batch = min(self._settings.batch, AGGREGATES_AT_A_TIME) if self._settings.aggregates else self._settings.batch
        reads = statements(layout, table, batch=batch)
        await self._sessions.beside.work(lambda connection: connection.execute(reads.probe))
        await self._adopt(require_marks(facts, table, self._owner), reads)
        await self._sessions.marks.execute("confirmed_begin", {"relay": self._owner.relay})
        batches = Batches(
            self._sessions.batches,
            self._sessions.beside,
            reads,
            self._whose,
            batch=batch,
            aggregates=self._settings.aggregates,
            evidence=self._evidence,
            observe=self._observe,
        )
        number = 0
        if self._last is not None:
            stream, last = self._last
            number = stream.number
            if read != self._read:  # it may lack rows that were published, and give their keys and ids to others
                self._evidence.forget()
            elif last.unmarked is not None and after == BatchPosition(number):
                await batches.mark(last.unmarked)
            last.unmarked = None
        stream = self._stream(batches, reads, number)
        self._last, self._read = (stream, batches), read
        self._observe(Streaming("polling", stream.start, {"strategy": "skip_locked", "batch": batch}))
        try:
            yield stream
        finally:
            stream.release()

    async def held(self) -> bool:
        """Ask whether the rows that are being published are still locked."""
        if not await self._leadership.held():
            return False
        return self._last is None or await self._last[1].held()

    def _stream(self, batches: Batches, reads: Statements, number: int) -> SkipLockedStream:
        marks = Marks(self._sessions.marks, reads, self._whose)
        beside: dict[str, Work] = {"leadership": self._leadership.run}
        if self._sessions.listening is not None:
            beside["listening"] = partial(listen, self._sessions.listening, self._observe)
        return SkipLockedStream(
            batches,
            reads.reader,
            number=number,
            interval=self._settings.interval,
            tidying=Tidying(marks.tidy, _TIDY_EVERY, _TIDY_IDLE_EVERY, _TIDY_AFTER)
            if reads.by_tx
            else Tidying(marks.tidy, _COMPARE_EVERY, _COMPARE_EVERY, _NEVER),
            beside=beside,
            observe=self._observe,
        )

    async def _adopt(self, state: State, reads: Statements) -> None:
        """Go on where this relay has streamed, or polled a round in part."""
        streamed = state.streamed != Transactions()
        if state.mode == "polling" and not streamed and state.round is None:
            return
        if streamed:
            await self._sessions.marks.work(lambda connection: connection.execute(reads.adopt, self._whose))
        await self._sessions.marks.execute("skip_adopt", {"relay": self._owner.relay})

    def _wake(self) -> None:
        if self._last is not None:
            self._last[0].wake()


def examine(facts: Facts, table: TableFacts, layout: Layout) -> None:
    """Raise a Problem if the table cannot be shared by pollers."""
    require_primary(facts, "which locks no rows")
    tables.check_rows(table, layout)
    require_key(layout, table)


def require_marks(facts: Facts, table: TableFacts, owner: Owner) -> State:
    """Return the stored state; raises SourceRefused if it does not say which rows of the table are published."""
    state = require_state(facts, owner.relay)
    if state.snapshot is None or (state.mode == "wal" and not has_tx(table)):
        raise SourceRefused(
            f"relay {owner.relay!r} has streamed the WAL, and its position does not say which rows of {owner.table} "
            "are published",
            remedy="let it publish everything with RELAY_SOURCE=wal and stop it; then set RELAY_NAME to another name "
            "and run `relay setup`, which counts the rows of that moment as published",
        )
    return state


class SharedRedrives:
    """The redrives of several active pollers: one of them publishes what is asked for."""

    def __init__(self, store: RedriveStore, leadership: Leadership) -> None:
        self._store = store
        self._leadership = leadership

    async def asked(self) -> Sequence[OutboxEvent]:
        """Return events that are asked for, if this is the poller that publishes them."""
        return await self._store.asked() if await self._leadership.redrives() else ()

    async def redriven(self, rows: Sequence[int]) -> None:
        """Mark `rows`: their events were published."""
        await self._store.redriven(rows)
