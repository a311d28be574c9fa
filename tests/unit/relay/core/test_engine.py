"""The engine between a scripted source and a scripted publisher: what is confirmed, stored and read again, and when."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from msgspec import structs

from outboxkit.errors import Problem
from relay.core.engine import Engine, Timings
from relay.core.errors import (
    MessageReturned,
    RepairNeeded,
    ServerStops,
    SlotHeld,
    SourceRefused,
    SourceUnavailable,
    Unanswered,
)
from relay.core.event import Boundary, OutboxEvent
from relay.core.fencing import Fencing
from relay.core.observations import NotStored, Observation, Observe, SourceLost, Stored
from relay.core.ports import Outcomes, Parcel, Rejection
from relay.core.position import Lsn, Position
from relay.core.routing import Router
from relay.core.shutdown import Shutdown
from relay.core.supervisor import Supervisor
from tests.support.examples import EVENT

Item = OutboxEvent | Boundary[Lsn]
ROUTER = Router("outbox", "{aggregate_type}.{event_type}")


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
    clock: Callable[[], float] = time.monotonic,
    observe: Observe = lambda _: None,
    shutdown: Shutdown | None = None,
) -> Engine:
    return Engine(
        script,
        ROUTER,
        broker,
        lot or Lot(),
        fencing=Fencing(5.0, clock),
        shutdown=shutdown or Shutdown(),
        supervisor=Supervisor(observe),
        observe=observe,
        timings=Timings(release_slot_after=1.0, store_at_last=0.1),
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


def test_nothing_is_confirmed_to_the_source_before_the_broker_has_confirmed_it() -> None:
    async def scenario(script: Script, broker: Broker) -> None:
        await script.played.wait()
        assert script.confirmed == []
        broker.confirms("a")
        assert script.confirmed == []
        broker.confirms("b")
        assert script.confirmed == [Lsn(20)]

    relay(scenario, [event("a"), event("b"), Boundary(Lsn(20))])


def test_a_keepalive_moves_the_source_only_as_far_as_what_is_confirmed() -> None:
    async def scenario(script: Script, broker: Broker) -> None:
        await script.played.wait()
        assert script.confirmed == []
        broker.confirms("a")
        assert script.confirmed == [Lsn(90)]

    relay(scenario, [event("a"), Boundary(Lsn(20)), Boundary(Lsn(90))])


def test_a_keepalive_moves_an_idle_source() -> None:
    async def scenario(script: Script, _: Broker) -> None:
        await script.played.wait()
        assert script.confirmed == [Lsn(90)]

    relay(scenario, [Boundary(Lsn(90))])


def test_stopping_waits_for_what_is_in_flight_and_stores_the_position() -> None:
    async def scenario(script: Script, broker: Broker) -> None:
        await script.played.wait()
        asyncio.get_running_loop().call_later(0.05, broker.confirms, "a")

    script = relay(scenario, [event("a"), Boundary(Lsn(20))])

    assert script.confirmed == [Lsn(20)]
    assert script.stored == [Lsn(20)]


def test_stopping_reads_an_open_transaction_to_its_end_and_no_further() -> None:
    """No boundary covers a half-read transaction: the next run would publish its first half again."""

    async def scenario(script: Script, broker: Broker) -> None:
        await broker.has("a")
        loop = asyncio.get_running_loop()
        rest: list[Item] = [event("b"), Boundary(Lsn(20)), event("c")]
        loop.call_later(0.05, script.later.put_nowait, rest)
        loop.call_later(0.1, broker.confirms, "a", "b", "c")

    script = relay(scenario, [event("a")])

    assert script.confirmed == [Lsn(20)]
    assert script.stored == [Lsn(20)]


def test_what_comes_after_the_stop_is_left_to_the_next_run() -> None:
    published: list[str] = []

    async def scenario(script: Script, broker: Broker) -> None:
        broker.published = published
        await script.played.wait()
        loop = asyncio.get_running_loop()
        more: list[Item] = [event("b"), Boundary(Lsn(40))]
        loop.call_later(0.05, script.later.put_nowait, more)
        loop.call_later(0.1, broker.confirms, "a")

    script = relay(scenario, [event("a"), Boundary(Lsn(20))])

    assert published == ["a"]
    assert script.stored == [Lsn(20)]


def test_a_broken_stream_opens_again_after_the_last_boundary_whose_events_are_confirmed() -> None:
    async def scenario(script: Script, broker: Broker) -> None:
        await broker.has("a", "b")
        broker.confirms("a", "b")
        await script.played.wait()
        broker.confirms("b", "c")

    script = relay(
        scenario,
        [event("a"), Boundary(Lsn(20)), event("b")],
        [event("b"), event("c"), Boundary(Lsn(40))],
    )

    assert script.opened_after == [None, Lsn(20)]
    assert script.confirmed[-1] == Lsn(40)


def test_what_a_broken_stream_left_in_flight_settles_before_the_next_one_opens() -> None:
    async def scenario(script: Script, broker: Broker) -> None:
        await broker.has("a")
        assert script.opened_after == [None]
        broker.confirms("a")
        await script.played.wait()
        assert script.opened_after == [None, Lsn(20)]

    relay(scenario, [event("a"), Boundary(Lsn(20))], [Boundary(Lsn(40))])


def test_a_rejected_event_holds_the_position_until_it_is_parked() -> None:
    async def scenario() -> None:
        script, broker, lot = Script([event("a"), Boundary(Lsn(20))]), Broker(), Lot()
        stop = asyncio.Event()
        running = asyncio.create_task(engine(script, broker, lot).run(stop))
        await script.played.wait()
        broker.rejects("a")
        await lot.asked.wait()
        assert script.confirmed == []
        lot.opened.set()
        stop.set()
        await running
        assert lot.parked == ["a"]
        assert script.confirmed == script.stored == [Lsn(20)]

    asyncio.run(scenario())


def test_a_rejected_event_has_its_place_in_its_transaction() -> None:
    async def scenario() -> None:
        first: list[Item] = [event("a"), event("b"), Boundary(Lsn(20)), Boundary(Lsn(30)), event("c"), event("d")]
        script, broker, lot = Script(first), Broker(), Lot()
        script.later.put_nowait([event("e"), Boundary(Lsn(40))])
        stop = asyncio.Event()
        lot.opened.set()
        running = asyncio.create_task(engine(script, broker, lot).run(stop))
        await broker.has("a", "b", "c", "d", "e")
        broker.rejects("a", "b", "c", "d", "e")
        stop.set()
        await running
        assert dict(zip(lot.parked, lot.places, strict=True)) == {"a": 1, "b": 2, "c": 1, "d": 2, "e": 3}

    asyncio.run(scenario())


def test_a_publisher_that_halts_ends_the_relay_with_its_reason_and_what_was_confirmed_is_stored() -> None:
    async def scenario() -> None:
        script, broker = Script([event("a"), Boundary(Lsn(20)), event("b"), Boundary(Lsn(40))]), Broker()
        running = asyncio.create_task(engine(script, broker).run(asyncio.Event()))
        await broker.has("a", "b")
        broker.confirms("a")
        broker.halted.set_exception(MessageReturned("no queue takes b", remedy="bind one"))
        with pytest.raises(MessageReturned, match="no queue takes b"):
            await running
        assert script.stored == [Lsn(20)]

    asyncio.run(scenario())


def test_the_slot_is_let_go_while_the_broker_is_away_and_taken_again_when_it_is_back() -> None:
    async def scenario(script: Script, broker: Broker) -> None:
        await broker.has("a")
        broker.lost.set()
        broker.lost.clear()
        broker.confirms("a")
        await script.played.wait()

    script = relay(scenario, [event("a"), Boundary(Lsn(20))], [Boundary(Lsn(40))])

    assert script.opened_after == [None, Lsn(20)]


def test_a_relay_that_stood_still_drops_what_it_holds_and_reads_it_again() -> None:
    async def scenario() -> None:
        now = [0.0]
        script = Script([event("a"), Boundary(Lsn(20))], [event("a"), Boundary(Lsn(20))])
        script.patient = True
        broker = Broker()
        stop = asyncio.Event()
        running = asyncio.create_task(engine(script, broker, clock=lambda: now[0]).run(stop))
        await broker.has("a")
        now[0] += 60
        await script.played.wait()
        assert broker.published == ["a", "a"]
        assert script.opened_after == [None, None]
        broker.confirms("a")
        stop.set()
        await running
        assert script.stored == [Lsn(20)]

    asyncio.run(scenario())


def test_a_relay_that_stood_still_and_still_has_the_source_drops_nothing() -> None:
    async def scenario() -> None:
        now = [0.0]
        script, broker, stop = Script([event("a"), Boundary(Lsn(20))]), Broker(), asyncio.Event()
        script.ours = True
        running = asyncio.create_task(engine(script, broker, clock=lambda: now[0]).run(stop))
        await broker.has("a")
        now[0] += 60
        async with asyncio.timeout(5):
            await script.asked.wait()
        broker.confirms("a")
        stop.set()
        await running
        assert broker.published == ["a"]
        assert script.opened_after == [None]
        assert set(script.stored) == {Lsn(20)}

    asyncio.run(scenario())


@pytest.mark.parametrize("noticed", ["in time", "too late"])
def test_a_relay_that_stood_still_drops_what_it_holds_when_its_stream_broke_too(noticed: str) -> None:
    """The publisher holds it back for as long as the relay is late, so that waiting for it would never end."""

    async def scenario() -> None:
        script = Script([event("a"), Boundary(Lsn(20))], [event("a"), Boundary(Lsn(20))])
        broker = Broker()
        broken = asyncio.Event()

        def clock() -> float:
            stood_still = broken.is_set() if noticed == "too late" else bool(broker.published)
            return 60.0 if stood_still else 0.0

        def observe(seen: Observation) -> None:
            if isinstance(seen, SourceLost):
                broken.set()

        stop = asyncio.Event()
        relaying = engine(script, broker, clock=clock, observe=observe)
        running = asyncio.create_task(relaying.run(stop))
        async with asyncio.timeout(5):
            await script.played.wait()
        assert broker.published == ["a", "a"]
        assert script.opened_after == [None, None]
        broker.confirms("a")
        stop.set()
        await running

    asyncio.run(scenario())


def test_a_held_slot_is_tried_again_until_it_is_free() -> None:
    async def scenario(script: Script, _: Broker) -> None:
        await script.played.wait()

    held = SlotHeld("held by 'relay'", remedy="stand by")

    assert relay(scenario, held, held, [Boundary(Lsn(20))]).confirmed == [Lsn(20)]


def test_a_refusal_ends_the_relay_with_its_reason() -> None:
    async def scenario() -> None:
        refused = Script(SourceRefused("no plugin", remedy="install it"))
        await engine(refused, Broker()).run(asyncio.Event())

    with pytest.raises(SourceRefused, match="no plugin"):
        asyncio.run(scenario())


def test_what_an_operator_must_repair_ends_a_relay_at_its_first_attempt() -> None:
    async def scenario() -> None:
        await engine(Script(RepairNeeded("no right", remedy="grant it")), Broker()).run(asyncio.Event())

    with pytest.raises(RepairNeeded, match="no right"):
        asyncio.run(scenario())


@pytest.mark.parametrize("before", [[Boundary(Lsn(10))], SlotHeld("held by 'relay'", remedy="stand by")])
def test_what_an_operator_must_repair_is_tried_again_by_a_relay_that_has_started(
    before: Sequence[Item] | Problem,
) -> None:
    async def scenario(script: Script, _: Broker) -> None:
        await script.played.wait()

    refused = RepairNeeded("no right", remedy="grant it")

    assert relay(scenario, before, refused, refused, [Boundary(Lsn(20))]).confirmed[-1] == Lsn(20)


def test_an_event_is_parked_in_the_end_whatever_error_postgres_gave_before() -> None:
    class Refusing(Lot):
        async def park(self, rejections: Sequence[Rejection], *, after: Position | None) -> None:
            if not self.asked.is_set():
                self.asked.set()
                raise SourceRefused("violates a constraint", remedy="drop it")
            await super().park(rejections, after=after)

    async def scenario() -> None:
        script, broker, lot = Script([event("a"), Boundary(Lsn(20))]), Broker(), Refusing()
        lot.opened.set()
        seen, stop = list[Observation](), asyncio.Event()
        running = asyncio.create_task(engine(script, broker, lot, observe=seen.append).run(stop))
        await broker.has("a")
        broker.rejects("a")
        await lot.asked.wait()
        stop.set()
        await running
        assert lot.parked == ["a"]
        assert script.stored == [Lsn(20)]
        reported = [each for each in seen if isinstance(each, NotStored | Stored)]
        assert [type(each) for each in reported] == [NotStored, Stored]

    asyncio.run(scenario())


def test_a_stream_whose_own_task_fails_is_opened_again_after_what_is_settled() -> None:
    async def scenario(script: Script, broker: Broker) -> None:
        script.patient = True
        await broker.has("a")
        broker.confirms("a")
        script.stream_fails.set_exception(SourceUnavailable("no fence", remedy="wait"))
        script.stream_fails = asyncio.get_running_loop().create_future()
        await script.played.wait()

    script = relay(scenario, [event("a"), Boundary(Lsn(20))], [Boundary(Lsn(40))])

    assert script.opened_after == [None, Lsn(20)]


def test_a_bug_in_a_background_task_ends_the_relay_with_its_traceback() -> None:
    async def scenario() -> None:
        script, broker = Script([event("a"), Boundary(Lsn(20))]), Broker()
        running = asyncio.create_task(engine(script, broker).run(asyncio.Event()))
        await broker.has("a")
        broker.halted.set_exception(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await running

    asyncio.run(scenario())


def test_a_stop_does_not_wait_for_ever_for_the_position_to_be_stored() -> None:
    async def scenario() -> None:
        script, broker, seen = Script([event("a"), Boundary(Lsn(20))]), Broker(), list[Observation]()
        script.stores = _never
        stop = asyncio.Event()
        running = asyncio.create_task(engine(script, broker, observe=seen.append).run(stop))
        await broker.has("a")
        broker.confirms("a")
        stop.set()
        async with asyncio.timeout(5):
            await running
        assert script.stored == []
        assert [each.what for each in seen if isinstance(each, NotStored)] == ["checkpoint"]

    asyncio.run(scenario())


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


def test_a_server_that_shuts_down_gets_its_stream_back_although_a_message_is_held() -> None:
    async def scenario() -> None:
        script, lost = Script([event("a"), Boundary(Lsn(20))], [Boundary(Lsn(40))]), asyncio.Event()
        shutdown = Shutdown()
        script.patient = True
        broker, seen = Broker(), list[Observation]()

        def observe(what: Observation) -> None:
            seen.append(what)
            lost.set()

        stop = asyncio.Event()
        running = asyncio.create_task(engine(script, broker, observe=observe, shutdown=shutdown).run(stop))
        await broker.has("a")
        shutdown.announce()
        async with asyncio.timeout(5):
            await lost.wait()
        assert isinstance(seen[0], SourceLost)
        assert isinstance(seen[0].problem, ServerStops)
        broker.confirms("a")
        await script.played.wait()
        assert script.opened_after == [None, Lsn(20)]
        stop.set()
        await running

    asyncio.run(scenario())


def test_what_settles_while_the_server_shuts_down_is_still_reported() -> None:
    async def scenario() -> None:
        script, broker = Script([event("a"), Boundary(Lsn(20))], [Boundary(Lsn(40))]), Broker()
        script.patient = True
        shutdown, stop = Shutdown(), asyncio.Event()
        running = asyncio.create_task(engine(script, broker, shutdown=shutdown).run(stop))
        await broker.has("a")
        shutdown.announce()
        asyncio.get_running_loop().call_later(0.05, broker.confirms, "a")
        await script.played.wait()
        assert script.confirmed == [Lsn(20), Lsn(40)]
        stop.set()
        await running

    asyncio.run(scenario())


def test_a_position_that_is_refused_is_stored_later_and_one_without_an_answer_ends_the_stream() -> None:
    async def scenario() -> None:
        script, broker, seen = Script([event("a"), Boundary(Lsn(20))], []), Broker(), list[Observation]()
        script.patient = True
        problems: list[Problem] = [
            SourceUnavailable("the disk is full", remedy="free space"),
            Unanswered("no answer for 10 s", remedy="check the network"),
        ]

        async def stores() -> None:
            if problems:
                raise problems.pop(0)

        script.stores = stores
        stop = asyncio.Event()
        running = asyncio.create_task(engine(script, broker, observe=seen.append).run(stop))
        await broker.has("a")
        broker.confirms("a")
        async with asyncio.timeout(10):
            await script.played.wait()  # the second opening
        stop.set()
        await running
        assert [type(each) for each in seen if isinstance(each, NotStored | SourceLost)] == [NotStored, SourceLost]

    asyncio.run(scenario())
