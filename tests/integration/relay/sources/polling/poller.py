"""A poller that shares a table, run in this process a batch at a time; its rows are published when the test says."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from outboxkit import sql
from relay.core.evidence import Evidence
from relay.core.observations import Observation, Skipped
from relay.sources.layout import NATIVE
from relay.sources.polling.skip_locked.batches import HELD_AT_MOST, Batches, Ended, Locked
from relay.sources.polling.skip_locked.marks import Marks
from relay.sources.polling.skip_locked.statements import Statements, statements
from relay.storage.facts import TableFacts
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from sandbox import Isolated

WHOSE = {"relay": "relay", "outbox": "outbox.event"}


class Poller:
    """Takes batches of `batches`; `published` has the keys of all that were published."""

    def __init__(self, batches: Batches, marks: Marks, seen: list[Observation]) -> None:
        self.batches = batches
        self.marks = marks
        self.published: list[str] = []
        self.got = asyncio.Event()
        """Whether rows wait to be published."""
        self._seen = seen
        self._waiting: asyncio.Future[None] | None = None

    async def take(self) -> Ended:
        """Take a batch, and publish it at once."""
        return await self.batches.next(self._publish)

    def begin(self) -> asyncio.Task[Ended]:
        """Take a batch, whose rows are published at `finish`."""
        return asyncio.create_task(self.batches.next(self._wait))

    def finish(self) -> None:
        assert self._waiting is not None
        self._waiting.set_result(None)

    def give_up(self) -> None:
        assert self._waiting is not None
        self._waiting.cancel()

    @property
    def skipped(self) -> Skipped:
        """All that it has passed over."""
        told = [each for each in self._seen if isinstance(each, Skipped)]
        return Skipped(
            sum(each.locked for each in told),
            sum(each.aggregates for each in told),
            sum(each.conflicts for each in told),
        )

    def _publish(self, rows: Sequence[Locked]) -> asyncio.Future[None]:
        future = self._wait(rows)
        future.set_result(None)
        return future

    def _wait(self, rows: Sequence[Locked]) -> asyncio.Future[None]:
        self.published += [row.key for row in rows]
        self._waiting = asyncio.get_running_loop().create_future()
        self.got.set()
        return self._waiting


@asynccontextmanager
async def poller(  # noqa: PLR0913 - what tests differ in
    isolated: Isolated,
    *,
    batch: int = 10,
    reads: Statements | None = None,
    kind: type[Batches] = Batches,
    aggregates: bool = False,
    held_at_most: float = HELD_AT_MOST,
) -> AsyncIterator[Poller]:
    """Yield a poller of outbox.event with sessions of its own."""
    seen: list[Observation] = []
    url = isolated.database_url
    prepared = ("stream_formats", "session_skip_locked")
    async with (
        Session(lambda: url, name="poller", slot="none", prepared=prepared) as session,
        Session(lambda: url, name="poller beside", slot="none") as beside,
    ):
        if reads is None:
            reads = statements(NATIVE, await facts(beside), batch=batch)
        batches = kind(
            session,
            beside,
            reads,
            WHOSE,
            batch=batch,
            evidence=Evidence(recording=False),
            aggregates=aggregates,
            observe=seen.append,
            held_at_most=held_at_most,
        )
        yield Poller(batches, Marks(beside, reads, WHOSE), seen)


async def facts(session: Session) -> TableFacts:
    """Return what the server says of outbox.event."""
    return await Server(session, name="relay", slot="none", table="outbox.event").table()


async def begin(isolated: Isolated) -> None:
    """Store the first position of the relay: what is visible now counts as published."""
    names = {"slot": None, "name": WHOSE["relay"], "outboxes": [WHOSE["outbox"]]}
    async with Session(lambda: isolated.database_url, name="begin", slot="none") as session:
        await session.work(
            lambda connection: connection.execute(sql.query("checkpoint_begin"), {**names, "snapshot": None})
        )
