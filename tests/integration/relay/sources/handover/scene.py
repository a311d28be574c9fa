"""A database, writers whose transactions end as a test says, and relays that record what they would publish.

A relay is made of the product's own parts. A test that shows what a condition is for puts another class in the place of
one part, which lacks the condition, and plays the same scene.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, LiteralString, NamedTuple, Self

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from outboxkit import sql
from relay.app import decoding
from relay.core.errors import SourceUnavailable
from relay.core.event import Boundary
from relay.core.lifetime.supervisor import Supervisor
from relay.core.observations import HandedOver, NotHandedOver, Observation
from relay.core.ports import Stream
from relay.core.position import Position
from relay.operating.connection import connected
from relay.operating.setup.steps import begin_polling
from relay.settings import RelaySettings
from relay.sources.handover.handover import Handover, Parts, Return
from relay.sources.polling.source import PollingSource
from relay.sources.polling.source import Settings as Polls
from relay.sources.wal.source import WalSource
from relay.sources.wal.stream import Timings, Writing
from relay.storage.fence import FenceWriter
from relay.storage.history import History
from relay.storage.leadership import Leadership
from relay.storage.position import StoredPosition
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from relay.storage.slots.new_slot import NewSlot
from sandbox import Isolated
from sandbox.machine.waiting import until
from sandbox.servers.postgres import Postgres
from tests.integration.relay.sources.handover.writer import PUBLISH, SECONDS, Writer


class Published(NamedTuple):
    """What a relay has published: the event's name, and from which source."""

    name: str
    mode: str


class Verdict(NamedTuple):
    """What is wrong in the end; names of events."""

    missing: list[str]
    doubled: list[str]
    ghosts: list[str]


RIGHT = Verdict([], [], [])


@dataclass(frozen=True)
class Made:
    """The classes that a relay is made of, and how it behaves."""

    handover: type[Handover] = Handover
    new_slot: type[NewSlot] = NewSlot
    positions: type[StoredPosition] = StoredPosition
    stores: bool = True
    """Whether it stores its position: one that does not is always about to."""
    source: str = "auto"
    fence_every: float = 0.1
    """Seconds."""


@dataclass
class Scene:
    """One test's database, `isolated`, on `server`; its writers and relays end with the block."""

    server: Postgres
    isolated: Isolated
    published: list[Published] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        """The database."""
        return self.isolated.database_url

    @property
    def slot(self) -> str:
        """The name of the relay's slot."""
        return self.isolated.name

    def settings(self, **changes: object) -> RelaySettings:
        """Return the settings of a relay."""
        return RelaySettings.model_validate(
            {"database_url": self.url, "amqp_url": self.isolated.amqp_url, "slot": self.slot, **changes}
        )

    # The application.

    def writer(self) -> Writer:
        """Return a session of the application."""
        writer = Writer(self.url)
        self._stack.callback(writer.close)
        return writer

    def write(self, *names: str) -> None:
        """Commit an event for each of `names`, each in a transaction of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name in names:
                connection.execute(PUBLISH, [name])

    def execute(self, statement: LiteralString, *parameters: object) -> list[Any]:
        """Run a statement in a session of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters or None)  # without any, a % is a %
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: LiteralString, *parameters: object) -> Any:  # noqa: ANN401 - one column of any type
        """Return one value."""
        return self.execute(statement, *parameters)[0][0]

    def when(self, statement: LiteralString, *parameters: object, what: str) -> None:
        """Wait until a query returns a row."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            until(lambda: connection.execute(statement, parameters).rowcount, what=what, seconds=SECONDS, every=0.02)

    # The relay.

    def begin(self) -> None:
        """Store a first position, as `relay setup` does before it makes a slot."""
        settings = self.settings()
        with connected(settings, "setup") as connection:
            begin_polling(connection, settings)

    def make_slot(self) -> None:
        """Make the slot, as `relay setup` does."""
        self.execute("SELECT pg_create_logical_replication_slot(%s, 'wal2json')", self.slot)

    @contextmanager
    def relay(self, made: Made = Made()) -> Iterator["Recorder"]:
        """Run a relay; at the end of the block it dies without a last word."""
        relay = Recorder(self.settings(source=made.source, poll_interval=0.05), made, self.published)
        relay.start()
        try:
            yield relay
        finally:
            relay.kill()

    def reads(self, mode: str) -> None:
        """Wait until the stored row says that the relay reads `mode`."""
        self.when("SELECT FROM relay.checkpoint WHERE mode = %s", mode, what=f"the relay reads {mode}")

    def ask(self, mode: str) -> None:
        """Ask for a source as `relay switch` does, and wait for it."""
        self.execute("UPDATE relay.checkpoint SET wanted = %s", mode)
        self.reads(mode)

    def mode(self) -> str:
        """Return the source that the stored row names."""
        return str(self.value("SELECT mode FROM relay.checkpoint"))

    def streamed(self, transaction: int) -> bool:
        """Return whether the stored row says that `transaction` was streamed, and is not seen yet."""
        return bool(self.value("SELECT streamed @> %s::bigint FROM relay.checkpoint", transaction))

    def has(self, *names: str) -> None:
        """Wait until `names` are published."""
        until(
            lambda: {*names} <= {each.name for each in self.published},
            what=f"{names} are published", seconds=SECONDS, every=0.02,
        )  # fmt: skip

    def fenced(self) -> None:
        """Wait until a fence that is written from now on is confirmed and stored."""
        seen = self.value("SELECT pg_current_xact_id()::text::bigint")
        self.when(
            "SELECT FROM relay.checkpoint WHERE pg_snapshot_xmax(snapshot)::text::bigint > %s", seen,
            what="a fence is stored",
        )  # fmt: skip

    def stored(self) -> None:
        """Wait until the stored snapshot sees every event that is committed."""
        self.when(
            "SELECT FROM relay.checkpoint"
            " WHERE (SELECT bool_and(pg_visible_in_snapshot(tx, snapshot)) FROM outbox.event)", what="all is stored",
        )  # fmt: skip

    def verdict(self) -> Verdict:
        """Compare what was published with what the table has."""
        committed = [row[0] for row in self.execute("SELECT aggregate_id FROM outbox.event")]
        found = Counter(each.name for each in self.published)
        return Verdict(
            sorted(set(committed) - set(found)),
            sorted(name for name, times in found.items() if times > 1),
            sorted(set(found) - set(committed)),
        )

    def waits_for(self, xid: int) -> None:
        """Wait until the making of a slot waits for the end of transaction `xid`."""
        self.when(
            "SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted AND transactionid::text = %s",
            str(xid % 2**32), what=f"the new slot waits for transaction {xid}",
        )  # fmt: skip

    def made(self) -> None:
        """Wait until the slot is made, and its maker has left it."""
        self.when(
            "SELECT FROM pg_replication_slots"
            " WHERE slot_name = %s AND confirmed_flush_lsn IS NOT NULL AND active_pid IS NULL", self.slot,
            what="the slot is made",
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.start()
        with suppress(psycopg.Error):  # those of a server that was stopped
            self._stack.close()
        for (gid,) in self.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"):
            self.execute(f"ROLLBACK PREPARED '{gid}'")
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots"
                " WHERE database = %s AND active_pid IS NOT NULL", [self.isolated.name]
            )  # fmt: skip
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
                [self.isolated.name],
            )
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(self.isolated.name)))


class Recorder:
    """A relay in a thread: it confirms at once what it reads, and `published` has it."""

    def __init__(self, settings: RelaySettings, made: Made, published: list[Published]) -> None:
        self._settings = settings
        self._made = made
        self._published = published
        self._loop = asyncio.new_event_loop()
        self._running: asyncio.Task[None] | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self.seen: list[Observation] = []
        """What the relay has observed."""
        self.batches = 0
        """How often it has received something."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._started.wait()

    def kill(self) -> None:
        """End it where it stands; raises what a bug in it raised."""
        assert self._running is not None
        self._loop.call_soon_threadsafe(self._running.cancel)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def observed(self, what: type[HandedOver | NotHandedOver], times: int = 1) -> None:
        """Wait until it has observed so many of `what`."""
        until(
            lambda: sum(isinstance(each, what) for each in self.seen) >= times,
            what=f"the relay observes {what.__name__}", seconds=SECONDS, every=0.02,
        )  # fmt: skip

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it do nothing during the block, as a process that was stopped."""
        stopped, go_on = threading.Event(), threading.Event()

        def stand_still() -> None:
            stopped.set()
            go_on.wait()

        self._loop.call_soon_threadsafe(stand_still)
        stopped.wait()
        try:
            yield
        finally:
            go_on.set()

    def reads_on(self) -> None:
        """Wait until it has read twice from now on; what it reads is that transactions have ended."""
        begun = self.batches
        with psycopg.connect(self._settings.database_url.get_secret_value(), autocommit=True) as connection:
            until(
                lambda: self.batches > begun + 1 or connection.execute("SELECT pg_current_xact_id()").rowcount < 1,
                what="the relay reads on", seconds=SECONDS,
            )  # fmt: skip

    def _run(self) -> None:
        async def run() -> None:
            self._running = asyncio.current_task()
            self._started.set()
            await self._relay()

        try:
            self._loop.run_until_complete(run())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            self._failure = error
        finally:
            self._loop.run_until_complete(_end_all())
            self._loop.close()

    async def _relay(self) -> None:
        async with AsyncExitStack() as stack:
            source = await self._source(stack)
            after: list[Position | None] = [None]
            while True:
                try:
                    async with source.open(after[0]) as stream, Supervisor(self.seen.append) as beside:
                        beside.start("stream", stream.run())
                        beside.start("reading", self._read(stream, after))
                        await beside.failure
                except SourceUnavailable:
                    await asyncio.sleep(0.05)

    async def _read(self, stream: Stream[Any], after: list[Position | None]) -> None:
        while True:
            items = await stream.receive()
            self.batches += 1
            mode = type(stream.start).__name__
            reached: Position | None = None
            for item in items:
                if isinstance(item, Boundary):
                    reached = item.position
                else:
                    self._published.append(Published(item.aggregate_id, "wal" if mode == "Lsn" else "polling"))
            if reached is not None:
                stream.confirm(reached)
                after[0] = reached
                if self._made.stores:
                    await stream.store(reached)

    async def _source(self, stack: AsyncExitStack) -> Handover:
        settings, made = self._settings, self._made
        url, owner = settings.database_url.get_secret_value(), settings.owner

        async def session(purpose: str, *prepared: str) -> Session:
            name = f"{settings.name} {purpose}"
            return await stack.enter_async_context(
                Session(lambda: url, name=name, slot=settings.slot, prepared=prepared)
            )

        checkpoint, upkeep = await session("checkpoint"), await session("upkeep")
        server = Server(checkpoint, name=settings.name, slot=settings.slot, table=settings.table)
        positions = made.positions(checkpoint, owner)
        wal = WalSource(
            lambda: url, server, owner, decoding(settings), plugin=settings.plugin,
            writing=Writing(positions, FenceWriter(upkeep, table=settings.table)), observe=self.seen.append,
            timings=Timings(fence_every=made.fence_every),
        )  # fmt: skip
        polling = PollingSource(
            await session("poll", "stream_formats", "session_poll"),
            lambda table: settings.layout(partitioned=table.partitioned),
            settings=Polls(settings.poll_interval, settings.poll_batch),
            positions=positions, listening=None, observe=self.seen.append,
        )  # fmt: skip
        parts = Parts(
            Leadership(await session("leader", "session_leader"), name=settings.name), positions,
            History(upkeep, relay=settings.name),
            made.new_slot(
                await session("new slot", "slot_create_abandoned"), upkeep, name=settings.slot, failover=False
            ),
        )  # fmt: skip
        return made.handover(
            server, owner, wal, polling, parts, source=settings.source, policy=Return(0.1, 1000),
            observe=self.seen.append,
        )  # fmt: skip


def names(published: Sequence[Published], mode: str) -> list[str]:
    """Return what was published from one source."""
    return [each.name for each in published if each.mode == mode]


def without_the_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a poll's snapshot before what it sees is flushed."""
    query = sql.query
    monkeypatch.setattr(
        "relay.sources.polling.reading.sql.query",
        lambda name: "SELECT %(written)s::text" if name == "poll_flush" else query(name),
    )


async def _end_all() -> None:
    """End what still runs, as asyncio.run does: each closes what it has opened."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
