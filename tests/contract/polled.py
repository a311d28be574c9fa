"""The rows of a table, read by polling it once: what the relay's own poll yields behind a snapshot."""

import asyncio
from collections.abc import Sequence

from relay.core.errors import UndecodableChange
from relay.core.event import OutboxEvent
from relay.core.position import Snapshot
from relay.core.transactions import Transactions
from relay.sources import tables
from relay.sources.layout import Layout
from relay.sources.polling.reading import Reading
from relay.sources.polling.statements import statements
from relay.sources.polling.stream import PollingStream
from relay.storage.facts import TableFacts
from relay.storage.sessions.session import Session
from relay.storage.state import State
from tests.support.server import server_started_at

IN_ONE, IN_PARTS = 1000, 2
"""Rows in a batch: a round that is read at once, and one whose keys the server keeps."""


def polled(url: str, layout: Layout, facts: TableFacts, *, after: Snapshot, batch: int) -> Sequence[OutboxEvent | str]:
    """Return the events of all rows that `after` does not see; a text is the error that ended the poll.

    Raises what a relay does that finds `facts` before its first poll.
    """
    tables.check_rows(facts, layout)
    return asyncio.run(_polled(url, layout, facts, after, batch))


async def _polled(url: str, layout: Layout, facts: TableFacts, after: Snapshot, batch: int) -> list[OutboxEvent | str]:
    found: list[OutboxEvent | str] = []
    prepared = ("stream_formats", "session_poll")
    async with Session(lambda: url, name="poll", slot="none", prepared=prepared) as session:
        reads = statements(layout, facts, batch=batch)
        stream = PollingStream(
            Reading(session, reads, batch=batch, server_started_at=server_started_at(url)),
            reads.reader,
            State("polling", None, after, Transactions()),
            interval=0.0,
            positions=None,
            listening=None,
            observe=lambda _: None,
        )
        while True:
            try:
                items = await stream.receive()
            except UndecodableChange as problem:
                return [*found, str(problem)]
            found += [item for item in items if isinstance(item, OutboxEvent)]
            if stream.caught_up:  # the round has ended
                return found
