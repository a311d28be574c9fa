"""A range of the table: the rows that one snapshot does not see and a later one does, in the order of their numbers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from outboxkit.errors import Problem
from relay.core.errors import UndecodableChange
from relay.core.event import Boundary, OutboxEvent
from relay.core.position import Round
from relay.core.replay import ReplayPosition, Selection, TableRange
from relay.sources import tables
from relay.sources.layout import Layout
from relay.sources.polling.reading import Reading, Row
from relay.sources.polling.rows import decoded
from relay.sources.polling.statements import statements
from relay.sources.preconditions import require_primary
from relay.sources.reader import Reader
from relay.sources.replay.source import Item
from relay.storage.facts import TableFacts
from relay.storage.server import Server
from relay.storage.sessions.session import Session

_BEFORE_ALL = -(2**63)
_CORRECT = "correct the row with UPDATE, or delete it; or correct RELAY_OUTBOX_COLUMNS; then run `relay replay resume`"


class TableReader:
    """Reads `of`, rows of `selection` only, `batch` at a time; every `step` events there is a position."""

    def __init__(  # noqa: PLR0913 - made in one place
        self,
        session: Session,
        server: Server,
        layout: Callable[[TableFacts], Layout],
        of: TableRange,
        selection: Selection,
        *,
        batch: int,
        step: int,
    ) -> None:
        self._session = session
        self._server = server
        self._layout = layout
        self._range = of
        self._selection = selection
        self._batch = batch
        self._step = step

    @asynccontextmanager
    async def open(self, after: ReplayPosition) -> AsyncIterator["TableReading"]:
        """Read the rows behind `after`."""
        facts, table = await self._server.facts(), await self._server.table()
        require_primary(facts, "whose snapshots do not say which transactions are running")
        layout = self._layout(table)
        tables.check_rows(table, layout)
        reads = statements(layout, table, batch=self._batch, replayed=self._selection)
        reading = Reading(self._session, reads, batch=self._batch, server_started_at=facts.server_started_at)
        yield TableReading(
            reading, reads.reader, self._range, after, ordered=reads.ordered, step=max(1, min(self._step, self._batch))
        )


class TableReading:
    """An open range of the table."""

    def __init__(  # noqa: PLR0913 - made in one place, above
        self, rounds: Reading, reader: Reader, of: TableRange, after: ReplayPosition, *, ordered: bool, step: int
    ) -> None:
        self._rounds = rounds
        self._reader = reader
        self._range = of
        self._seq = after.seq
        """The number of the last row that was handed over."""
        self._ordered = ordered
        self._step = step
        self._begun = False
        self._undecodable: UndecodableChange | None = None

    async def receive(self) -> Sequence[Item]:
        """Return the next rows as events; the position behind the last one is complete.

        Raises UndecodableChange after all rows before the one that cannot be read, and a Problem if rows are gone.
        """
        if self._undecodable is not None:
            raise self._undecodable
        if not self._begun:
            beyond = _BEFORE_ALL if self._seq is None else self._seq
            begun = await self._rounds.begin(self._range.after, Round(self._range.until, beyond))
            self._begun = True
            if not begun.large:
                return self._items(begun.rows, last=True)
        batch = await self._rounds.more()
        if batch.gone:
            raise removed(batch.gone)
        return self._items(batch.rows, last=not batch.rows)

    async def stored(self, position: ReplayPosition) -> None:
        """Do nothing: rows stay."""

    async def run(self) -> None:
        """Do nothing beside it, until cancelled."""
        await asyncio.get_running_loop().create_future()

    def _items(self, rows: Sequence[Row], *, last: bool) -> list[Item]:
        items: list[Item] = []
        events, self._undecodable = decoded(rows, self._reader, remedy=_CORRECT)
        for number, event in enumerate(events, start=1):
            items.append(event)
            if self._ordered:
                self._seq = event.seq
                if number % self._step == 0:
                    items.append(Boundary(ReplayPosition(self._seq)))
        if self._undecodable is not None:
            if not items:
                raise self._undecodable
        elif last:
            items.append(Boundary(ReplayPosition(self._seq, complete=True)))
        elif self._ordered and isinstance(items[-1], OutboxEvent):
            items.append(Boundary(ReplayPosition(self._seq)))
        return items


def removed(events: int | None) -> Problem:
    """Return the failure of a job of which so many events are not in the table any more; None if that is not known."""
    return Problem(
        f"{'some' if events is None else events} events that may be in its range were removed from the outbox "
        "since it was made",
        remedy="`relay replay` with the same times publishes what is left, or names the oldest position that has all",
    )
