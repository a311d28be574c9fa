"""The engine when it stood still, when its source shuts down or must be repaired, and when the broker is away."""

import asyncio
from collections.abc import Sequence

import pytest

from outboxkit.errors import Problem
from relay.core.errors import (
    RepairNeeded,
    ServerStops,
    SlotHeld,
)
from relay.core.event import Boundary
from relay.core.lifetime.shutdown import Shutdown
from relay.core.observations import Observation, SourceLost
from relay.core.position import Lsn
from tests.unit.relay.core.engine_stage import Broker, Item, Script, engine, event, relay


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
