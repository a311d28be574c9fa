"""One open stream of a polled table.

Each round reads what a new snapshot sees and the one before it had not: no row is read twice, none is passed over
however late it commits, and a transaction that stays open holds up nothing. The position is the last snapshot all of
whose rows are confirmed. A large round is a position in part, too: how far it is confirmed, in the order of `seq`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from outboxkit.errors import Problem
from relay.core.errors import UndecodableChange
from relay.core.event import Boundary, OutboxEvent
from relay.core.lifetime.attempts import Attempts
from relay.core.observations import CaughtUp, Observe
from relay.core.position import PollPosition, Round, Snapshot
from relay.sources.polling.reading import Batch, Begun, Row
from relay.sources.polling.rows import decoded
from relay.sources.reader import Reader
from relay.storage.sessions.session import Session
from relay.storage.state import State

_LISTEN_EVERY = 5.0
"""Seconds between two looks at the session that listens: one that has ended is replaced."""
_CORRECT = "correct the row with UPDATE, or delete it; or correct RELAY_OUTBOX_COLUMNS; then start the relay again"
_LAST_INTERVAL = 0.1
"""Seconds between two rounds, at most, while the last one is waited for."""


class Rounds(Protocol):
    """Reads rounds from the table."""

    async def begin(self, after: Snapshot, resumed: Round | None) -> Begun:
        """Begin a round with a new snapshot, or with the one of `resumed`; returns what it sees and `after` did not."""

    async def more(self) -> Batch:
        """Return the next rows of a large round; none at its end."""


class PositionStore(Protocol):
    """Where a stream stores its position."""

    async def save(self, state: State) -> None:
        """Store `state`; raises SourceUnavailable if it cannot be stored now."""


class PollingStream:
    """Reads rounds from where `state` ends, at the latest `interval` seconds after the one before."""

    def __init__(  # noqa: PLR0913 - made in one place, by the source
        self,
        rounds: Rounds,
        reader: Reader,
        state: State,
        *,
        interval: float,
        positions: PositionStore | None,
        listening: Session | None,
        observe: Observe,
    ) -> None:
        if state.snapshot is None:
            raise ValueError("a poll begins behind a snapshot")
        self._state = state
        self._rounds = rounds
        self._reader = reader
        self._interval = interval
        self._positions = positions
        self._listening = listening
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self.start = PollPosition(state.snapshot, state.round)
        """The position that it reads after."""
        self._snapshot = state.snapshot
        self._resumed = state.round
        self._large: Snapshot | None = None
        """The snapshot of the large round that is being read."""
        self._next = self._loop.time()
        self._woken = asyncio.Event()
        self._begun: deque[tuple[Snapshot, float]] = deque()
        """The rounds that are not confirmed, and when each was begun, on the loop's clock."""
        self._beginning = False
        self._confirmed = self.start
        self._last: Callable[[Snapshot], bool] | None = None
        self._ended = asyncio.Event()
        self._undecodable: UndecodableChange | None = None
        self._over = False
        """Whether the other source goes on: nothing is stored any more."""
        self._goes_on_from: State | None = None

    async def receive(self) -> Sequence[OutboxEvent | Boundary[PollPosition]]:
        """Return the next rows as events, with a boundary behind them; waits until a round is due.

        Raises UndecodableChange after all rows before the one that cannot be read.
        """
        while True:
            if self._undecodable is not None:
                raise self._undecodable
            if items := await (self._begin() if self._large is None else self._more()):
                return items

    def wake(self) -> None:
        """Begin the next round at once."""
        self._woken.set()

    def confirm(self, position: PollPosition) -> None:
        """Note that everything up to `position` is confirmed."""
        self._confirmed = position
        if position.round is not None:
            return
        while (begun := self._begun.popleft())[0] != position.snapshot:
            pass
        self._observe(CaughtUp(begun[1]))
        self._end_if_last()

    def state(self, position: PollPosition) -> State:
        """Return what is published up to `position`, the last that was confirmed."""
        if self._goes_on_from is not None:
            return self._goes_on_from
        left = self._state.streamed.unseen(position.snapshot)
        return replace(self._state, snapshot=position.snapshot, round=position.round, streamed=left)

    async def store(self, position: PollPosition) -> None:
        """Store `position` with what it means for a stream of the WAL."""
        if self._positions is not None and not self._over:
            await self._positions.save(self.state(position))

    async def run(self) -> None:
        """Keep the session that listens, until cancelled; while it is gone, rounds begin at their interval."""
        if self._listening is not None:
            await listen(self._listening, self._observe)
        await self._loop.create_future()

    # The change to the WAL.

    async def intend(self) -> None:
        """Store that a new slot is being made."""
        self._state = replace(self._state, making_slot=True)
        await self.store(self._confirmed)

    @property
    def caught_up(self) -> bool:
        """Whether no backlog is being read, and at most one round is not confirmed."""
        return self._large is None and len(self._begun) <= 1

    @property
    def ending(self) -> bool:
        """Whether no round begins after the last one."""
        return self._last is not None

    async def finish(self, last: Callable[[Snapshot], bool]) -> PollPosition:
        """Begin no round after one whose snapshot is `last`; return the position when all that it sees is confirmed."""
        self._last = last
        self.wake()
        self._end_if_last()
        await self._ended.wait()
        return self._confirmed

    async def hand_over(self, state: State) -> None:
        """Store `state`, from which the other source goes on."""
        self._over = True
        if self._positions is not None:
            await self._positions.save(state)
        self._goes_on_from = state

    def _end_if_last(self) -> None:
        if self._last is not None and not self._beginning and not self._begun and self._last(self._snapshot):
            self._ended.set()

    async def _begin(self) -> list[OutboxEvent | Boundary[PollPosition]]:
        await self._due()
        began = self._loop.time()
        self._beginning = True
        begun = await self._rounds.begin(self._snapshot, self._resumed)
        self._beginning, self._resumed = False, None
        self._next = began + (self._interval if self._last is None else min(self._interval, _LAST_INTERVAL))
        if begun.snapshot == self._snapshot:  # no transaction has begun or ended: the position stays
            if not self._begun:
                self._observe(CaughtUp(began))
            self._end_if_last()
            return []
        self._begun.append((begun.snapshot, began))
        if begun.large:
            self._large = begun.snapshot
            self._next = began  # what came meanwhile is read at once
            return []
        events = self._events(begun.rows)
        return [*events] if self._undecodable else [*events, self._end(begun.snapshot, oldest(events))]

    async def _more(self) -> list[OutboxEvent | Boundary[PollPosition]]:
        """Return the next part of a large round."""
        assert self._large is not None  # noqa: S101 - it has begun
        batch = await self._rounds.more()
        if not batch.rows:
            return [self._end(self._large)]
        events = self._events(batch.rows)
        if batch.seq is None or self._undecodable:  # there is no order in which a part of it can be stored
            return [*events]
        return [*events, Boundary(PollPosition(self._snapshot, Round(self._large, batch.seq)), oldest(events))]

    async def _due(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._next):
                await self._woken.wait()
        self._woken.clear()
        if self._last is not None and self._last(self._snapshot):
            await self._loop.create_future()  # the last round has begun

    def _events(self, rows: Sequence[Row]) -> list[OutboxEvent]:
        published = self._state.streamed
        unpublished = (row for row in rows if int(row[-2]) not in published)
        events, self._undecodable = decoded(unpublished, self._reader, remedy=_CORRECT)
        return events

    def _end(self, snapshot: Snapshot, committed_at: float | None = None) -> Boundary[PollPosition]:
        self._snapshot, self._large = snapshot, None
        return Boundary(PollPosition(snapshot), committed_at)


async def listen(session: Session, observe: Observe) -> None:
    """Keep `session`, which listens for new events, until cancelled: one that has ended is replaced."""
    attempts = Attempts("listening for new events", observe)
    while True:
        try:
            await session.execute("backend_pid", {})
        except Problem as problem:
            attempts.failed(problem)
        else:
            attempts.succeeded()
        await asyncio.sleep(_LISTEN_EVERY)


def oldest(events: Sequence[OutboxEvent]) -> float | None:
    """Return when the oldest of `events` was created: nobody knows when it was committed."""
    return min(event.created_at for event in events).timestamp() if events else None
