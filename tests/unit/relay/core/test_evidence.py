"""What was confirmed, until it is stored."""

import asyncio
from dataclasses import replace

import pytest
from msgspec import structs

from relay.core.event import Boundary
from relay.core.evidence import Confirms, Evidence
from relay.core.ledger import Stretch
from relay.core.ports import Parcel
from relay.core.position import Lsn
from tests.support.examples import EVENT
from tests.unit.relay.core.engine_stage import ROUTER, TIMINGS, Broker, Script, engine, event


def parcel(name: str, seq: int) -> Parcel:
    made = structs.replace(EVENT, id=name, seq=seq)
    return Parcel(Stretch(), made, ROUTER.route(made))


def test_confirms_are_taken_once_and_in_the_order_in_which_they_came() -> None:
    evidence = Evidence(recording=True)
    evidence.confirmed([parcel("b", 2)])
    evidence.confirmed([parcel("a", 1), parcel("b", 2)])
    assert evidence.take() == Confirms([2, 1, 2], ["b", "a", "b"])
    assert evidence.take() == Confirms([], [])


def test_what_was_not_stored_is_taken_again_before_what_came_meanwhile() -> None:
    evidence = Evidence(recording=True)
    evidence.confirmed([parcel("a", 1)])
    taken = evidence.take()
    evidence.confirmed([parcel("b", 2)])
    evidence.give_back(taken)
    assert evidence.take() == Confirms([1, 2], ["a", "b"])


def test_what_is_forgotten_is_not_taken() -> None:
    evidence = Evidence(recording=True)
    evidence.confirmed([parcel("a", 1)])
    evidence.forget()
    evidence.confirmed([parcel("b", 2)])
    assert evidence.take() == Confirms([2], ["b"])


def test_an_outbox_that_is_not_audited_costs_nothing() -> None:
    evidence = Evidence(recording=False)
    evidence.confirmed([parcel("a", 1)])
    assert evidence.take() == Confirms([], [])


def test_the_relay_reads_no_further_while_what_was_confirmed_cannot_be_stored() -> None:
    """Else its memory would grow for as long as Postgres takes no writes."""

    async def scenario() -> None:
        evidence = Evidence(recording=True, at_most=2)
        script, broker, stop = Script([]), Broker(), asyncio.Event()
        running = asyncio.create_task(engine(script, broker, evidence=evidence).run(stop))
        script.later.put_nowait([event("a"), event("b"), Boundary(Lsn(1))])
        await broker.has("a", "b")
        broker.confirms("a", "b")
        script.later.put_nowait([event("c"), Boundary(Lsn(2))])
        await broker.has("c")  # the relay was waiting for it
        script.later.put_nowait([event("d"), Boundary(Lsn(3))])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await broker.has("d")
        evidence.take()
        await broker.has("d")
        broker.confirms("c", "d")
        stop.set()
        await running

    asyncio.run(scenario())


def test_what_is_confirmed_of_a_large_transaction_is_stored_before_its_end_at_the_position_before_it() -> None:
    """Else the relay would wait for room for ever: a position is stored again only when it moves."""

    async def scenario() -> None:
        evidence, stored = Evidence(recording=True, at_most=4), asyncio.Event()
        script, broker, stop = Script([]), Broker(), asyncio.Event()

        async def store() -> None:
            evidence.take()
            stored.set()

        script.stores = store
        timings = replace(TIMINGS, store_every=0.01)
        running = asyncio.create_task(engine(script, broker, evidence=evidence, timings=timings).run(stop))
        script.later.put_nowait([event("first"), Boundary(Lsn(1))])
        await broker.has("first")
        broker.confirms("first")
        await stored.wait()
        for name in "abcdefgh":
            script.later.put_nowait([event(name)])
            await broker.has(name)
            broker.confirms(name)
        script.later.put_nowait([Boundary(Lsn(2))])
        stop.set()
        await running
        assert script.stored[-1] == Lsn(2)
        assert Lsn(1) in script.stored

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_a_redriven_event_is_no_evidence_about_the_outbox_that_is_read() -> None:
    """It may be of another table, whose numbers mean other events. Its row of relay.parked has its confirm."""
    evidence = Evidence(recording=True)
    redriven = parcel("a", 1)
    evidence.confirmed([structs.replace(redriven, event=structs.replace(redriven.event, redrives=7)), parcel("b", 2)])
    assert evidence.take() == Confirms([2], ["b"])
