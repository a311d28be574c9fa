"""The outbox, read by polling its table."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from relay.core.observations import Observe, Streaming
from relay.sources import tables
from relay.sources.layout import Layout
from relay.sources.polling.reading import Reading
from relay.sources.polling.statements import statements
from relay.sources.polling.stream import PollingStream, PositionStore
from relay.sources.preconditions import require_primary, require_snapshot
from relay.storage.facts import Facts, TableFacts
from relay.storage.sessions.session import Session
from relay.storage.state import State

POLLS = ("stream_formats", "session_poll")
"""What a session that polls begins with."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a table is polled."""

    interval: float
    """Seconds between the beginnings of two rounds, when there is no more to read."""
    batch: int
    """Rows that are read at a time."""


class PollingSource:
    """Opens streams of the table; `layout` says from the table's facts how its rows are read.

    Without `positions`, the stored position stays where it is. `listening` is a session that hears of new rows.
    """

    def __init__(  # noqa: PLR0913 - made in one place, by the composition root
        self,
        session: Session,
        layout: Callable[[TableFacts], Layout],
        *,
        settings: Settings,
        positions: PositionStore | None,
        listening: Session | None,
        observe: Observe,
    ) -> None:
        self._session = session
        self._listening = listening
        self._stream: PollingStream | None = None
        if listening is not None:
            listening.call_at_notify(self.wake)
        self._layout = layout
        self._settings = settings
        self._positions = positions
        self._observe = observe

    def wake(self) -> None:
        """Begin the next round at once, if a stream is open: a writer has committed."""
        if self._stream is not None:
            self._stream.wake()

    def examine(self, facts: Facts, table: TableFacts) -> None:
        """Raise a Problem if the table cannot be polled by snapshot."""
        require_primary(facts, "whose snapshots do not say which transactions are running")
        layout = self._layout(table)
        tables.check_rows(table, layout)
        statements(layout, table, batch=self._settings.batch)

    @asynccontextmanager
    async def open(self, facts: Facts, table: TableFacts, state: State) -> AsyncIterator[PollingStream]:
        """Poll from `state`, which was stored or is what this process has confirmed; raises what `examine` does."""
        self.examine(facts, table)
        require_snapshot(state)
        reads = statements(self._layout(table), table, batch=self._settings.batch)
        stream = PollingStream(
            Reading(self._session, reads, batch=self._settings.batch, server_started_at=facts.server_started_at),
            reads.reader,
            state,
            interval=self._settings.interval,
            positions=self._positions,
            listening=self._listening,
            observe=self._observe,
        )
        await self._session.execute("backend_pid", {})  # a session that cannot be opened is no stream
        self._observe(Streaming("polling", stream.start, {"interval": self._settings.interval}))
        self._stream = stream
        try:
            yield stream
        finally:
            self._stream = None
