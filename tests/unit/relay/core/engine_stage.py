"""The engine between a scripted source and a scripted publisher."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from msgspec import structs

from outboxkit.errors import Problem
from relay.core.engine import Engine, Timings
from relay.core.errors import (
    SourceUnavailable,
)
from relay.core.event import Boundary, OutboxEvent
from relay.core.evidence import Evidence
from relay.core.hashing.partition import WHOLE, Partition
from relay.core.lifetime.fencing import Fencing
from relay.core.lifetime.shutdown import Shutdown
from relay.core.lifetime.supervisor import Supervisor
from relay.core.messages.routing import Router
from relay.core.observations import Observe
from relay.core.ports import Outcomes, Parcel, Rejection
from relay.core.position import Lsn, Position
from tests.support.examples import EVENT

Item = OutboxEvent | Boundary[Lsn]
ROUTER = Router("outbox", "{aggregate_type}.{event_type}")
TIMINGS = Timings(release_slot_after=1.0, store_at_last=0.1)


def event(name: str) -> OutboxEvent:
    return structs.replace(EVENT, id=name)


class Script:
    """A source whose every opening plays one list of items, then breaks, or stays open for more if it is the last."""

    def __init__(self, *openings: Sequence[Item] | Problem) -> None:
        self._openings = list(openings)
        self.opened_after: list[Position | None] = []
        self.confirmed: list[Lsn] = []
        self.stored: list[Lsn] = []
        self.played = asyncio.Event()
        self.patient = False
        """Whether all openings but the last stay open and silent instead of breaking."""
        self.later: asyncio.Queue[Sequence[Item]] = asyncio.Queue()
        self.ours = False
        """Whether the source says that it is still this process's."""
        self.asked = asyncio.Event()
        self.stores: Callable[[], Awaitable[None]] | None = None
        """What storing a position waits for, if anything."""
        self.stream_fails: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def open(self, after: Position | None) -> AsyncIterator["Opening"]:
        self.opened_after.append(after)
        opening = self._openings.pop(0)
        if isinstance(opening, Problem):
            raise opening
        yield Opening(self, opening, after, last=not self._openings)

    async def held(self) -> bool:
        self.asked.set()
        return self.ours


class Opening:
    def __init__(self, script: Script, items: Sequence[Item], start: Position | None, *, last: bool) -> None:
        self._script = script
        self._items = items
        self.start = start
        self._last = last

    async def receive(self) -> Sequence[Item]:
        items, self._items = self._items, ()
        if items:
            return items
        if not self._last and self._script.patient:
            await asyncio.get_running_loop().create_future()
        if not self._last:
            raise SourceUnavailable("the stream broke", remedy="wait")
        self._script.played.set()
        return await self._script.later.get()

    def confirm(self, position: Lsn) -> None:
        self._script.confirmed.append(position)

    async def store(self, position: Lsn) -> None:
        if self._script.stores is not None:
            await self._script.stores()
        self._script.stored.append(position)

    async def run(self) -> None:
        await asyncio.shield(self._script.stream_fails)


class Broker:
    """A publisher that takes everything and confirms when the test says so."""

    def __init__(self) -> None:
        self.taken: list[Parcel] = []
        self.published: list[str] = []
        self.lost = asyncio.Event()
        self.halted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outcomes: Outcomes | None = None
        self._changed = asyncio.Event()

    def notify(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        self.taken += parcels
        self.published += [parcel.event.id for parcel in parcels]
        self._changed.set()

    def in_flight(self) -> int:
        return len(self.taken)

    def forget(self) -> None:
        self.taken = []
        self._changed.set()

    async def away(self, seconds: float) -> None:
        assert seconds > 0
        await self.lost.wait()

    async def drained(self) -> None:
        while self.taken and not self.halted.done():
            self._changed.clear()
            await self._changed.wait()

    async def run(self) -> None:
        await self.halted

    def confirms(self, *ids: str) -> None:
        assert self._outcomes is not None
        self._outcomes.confirmed(self._take(ids))

    def rejects(self, *ids: str) -> None:
        assert self._outcomes is not None
        self._outcomes.rejected([Rejection(parcel, "returned", "no queue") for parcel in self._take(ids)])

    def _take(self, ids: Sequence[str]) -> list[Parcel]:
        chosen = [parcel for parcel in self.taken if parcel.event.id in ids]
        self.taken = [parcel for parcel in self.taken if parcel.event.id not in ids]
        self._changed.set()
        return chosen

    async def has(self, *ids: str) -> None:
        while not set(ids) <= set(self.published):
            self._changed.clear()
            await self._changed.wait()


class Lot:
    """A parking lot that stores when the test lets it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.opened = asyncio.Event()
        self.parked: list[str] = []
        self.places: list[int] = []

    async def park(self, rejections: Sequence[Rejection], *, after: Position | None) -> None:
        del after
        self.asked.set()
        await self.opened.wait()
        self.parked += [rejection.parcel.event.id for rejection in rejections]
        self.places += [rejection.parcel.place for rejection in rejections]


def engine(  # noqa: PLR0913 - what a test may replace
    script: Script,
    broker: Broker,
    lot: Lot | None = None,
    *,
    evidence: Evidence | None = None,
    clock: Callable[[], float] = time.monotonic,
    observe: Observe = lambda _: None,
    shutdown: Shutdown | None = None,
    timings: Timings = TIMINGS,
    partition: Partition = WHOLE,
) -> Engine:
    return Engine(
        script,
        ROUTER,
        broker,
        lot or Lot(),
        None,
        evidence=evidence or Evidence(recording=False),
        fencing=Fencing(5.0, clock),
        shutdown=shutdown or Shutdown(),
        supervisor=Supervisor(observe),
        observe=observe,
        timings=timings,
        partition=partition,
    )


def relay(scenario: Callable[[Script, Broker], Awaitable[None]], *openings: Sequence[Item] | Problem) -> Script:
    """Run `scenario` beside an engine, then stop the engine and let it drain; return what the source saw."""

    async def both() -> Script:
        script, broker = Script(*openings), Broker()
        stop = asyncio.Event()
        running = asyncio.create_task(engine(script, broker).run(stop))
        acting = asyncio.ensure_future(scenario(script, broker))
        await asyncio.wait([running, acting], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        async with asyncio.timeout(10):
            await acting
            await running
        return script

    return asyncio.run(both())
