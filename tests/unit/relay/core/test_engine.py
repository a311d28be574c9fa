"""The engine between a scripted source and a scripted publisher: what is confirmed, stored and read again, and when."""

import asyncio
from collections.abc import Sequence

import pytest

from outboxkit.errors import Problem
from relay.core.errors import (
    MessageReturned,
    SlotHeld,
    SourceRefused,
    SourceUnavailable,
    Unanswered,
)
from relay.core.event import Boundary
from relay.core.observations import NotStored, Observation, SourceLost, Stored
from relay.core.ports import Rejection
from relay.core.position import Lsn, Position
from tests.unit.relay.core.engine_stage import Broker, Item, Lot, Script, engine, event, relay


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
