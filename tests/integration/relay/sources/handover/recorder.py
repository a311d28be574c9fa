"""A relay in a thread, made of the product's own parts, that records what it would publish."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg

from relay.app import decoding
from relay.core.errors import SourceUnavailable
from relay.core.event import Boundary
from relay.core.evidence import Evidence
from relay.core.lifetime.supervisor import Supervisor
from relay.core.observations import HandedOver, NotHandedOver, Observation
from relay.core.ports import Stream
from relay.core.position import Position
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
from sandbox.machine.waiting import until
from tests.integration.relay.sources.handover.writer import SECONDS


class Published(NamedTuple):
    """What a relay has published: the event's name, and from which source."""

    name: str
    mode: str


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


class Recorder:
    """A relay in a thread: it confirms at once what it reads, and `published` has it."""

    def __init__(self, settings: RelaySettings, made: Made, published: list[Published]) -> None:
        self._settings = settings
        self._made = made
        self._published = published
        self._loop = asyncio.new_event_loop()
        self._running: asyncio.Task[None] | None = None
        self._started = threading.Event()
        self._may_open = threading.Event()
        self._may_open.set()
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
        with suppress(RuntimeError):  # of a closed loop: it has ended by itself, which a failure did
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

    @contextmanager
    def opens_nothing(self) -> Iterator[None]:
        """Let it open no stream during the block; the one that is open goes on to its end."""
        self._may_open.clear()
        try:
            yield
        finally:
            self._may_open.set()

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
                await asyncio.to_thread(self._may_open.wait)
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
        positions = made.positions(checkpoint, owner, Evidence(recording=False))
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


async def _end_all() -> None:
    """End what still runs, as asyncio.run does: each closes what it has opened."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
