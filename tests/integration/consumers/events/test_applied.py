"""Events on a real Postgres and RabbitMQ: applied once by each handler, in the order of their aggregate."""

import asyncio
import random
from typing import Any

import psycopg
import pytest

from consumers.events.declaring.event import Event
from consumers.events.declaring.registry import EventHandlers
from sandbox import Isolated
from tests.integration.consumers.events.stage import INSERT, Sent, Stage, aggregate, row

COUNT = "SELECT count(*) FROM applied"


def both_kinds() -> EventHandlers:
    """Return a handler of each kind: threads and loop, by message and by version."""
    handlers = EventHandlers()

    @handlers.on("order.*")
    def by_message(event: Event, connection: psycopg.Connection[Any]) -> None:
        connection.execute(INSERT, row("by_message", event))

    @handlers.on("order.#", by="version")
    async def by_version(event: Event, connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.execute(INSERT, row("by_version", event))

    return handlers


def test_every_event_is_applied_once_by_each_handler_and_in_order_although_all_come_three_times(
    isolated: Isolated, seed: int
) -> None:
    stage = Stage(isolated)
    ordered = [event for version in range(1, 26) for name in "abcdefgh" for event in aggregate(name, (version,))]
    again = [*ordered, *ordered]
    random.Random(seed).shuffle(again)  # noqa: S311 - for repeatable orders

    async def play() -> None:
        async with stage.running(both_kinds()):
            await stage.publish([*ordered, *again])
            await stage.until(COUNT, 400)
            await stage.counts("by_message", "duplicate", 400)
            await stage.counts("by_version", "stale", 400)
        assert await stage.messages(stage.queue) == 0  # all are acked
        assert await stage.messages() == 0

    asyncio.run(play())
    for handler in ("by_message", "by_version"):
        applied = stage.applied(handler)
        for name in "abcdefgh":
            assert [version for aggregate_id, version in applied if aggregate_id == name] == list(range(1, 26)), handler
    assert stage.parked() == []


def test_what_comes_in_any_order_is_applied_in_the_order_of_versions_by_a_handler_that_checks_them(
    isolated: Isolated, seed: int
) -> None:
    stage = Stage(isolated)
    events = [event for name in "abc" for event in aggregate(name, range(1, 31))] * 2
    random.Random(seed).shuffle(events)  # noqa: S311 - for repeatable orders
    later = [event for event in events if event.version > 1][:90]

    async def play() -> None:
        async with stage.running(both_kinds(), events_gap_wait=60):
            await stage.publish(later)
            await stage.counts("by_version", "gap", 3)
            await stage.publish([event for event in events if event not in later])
            await stage.until("SELECT count(*) FROM applied WHERE handler = 'by_version'", 90)
            await stage.until("SELECT count(*) FROM applied WHERE handler = 'by_message'", 90)

    asyncio.run(play())
    applied = stage.applied("by_version")
    for name in "abc":
        assert [version for aggregate_id, version in applied if aggregate_id == name] == list(range(1, 31))
    assert sorted(stage.applied("by_message")) == sorted(set(stage.applied("by_message")))


def test_a_handler_gets_the_event_as_it_was_written(isolated: Isolated) -> None:
    stage = Stage(isolated)
    handlers, got = EventHandlers(), list[Event]()

    @handlers.on("order.paid")
    def keep(event: Event, connection: psycopg.Connection[Any]) -> None:
        connection.execute(INSERT, row("keep", event))
        got.append(event)

    sent = Sent("42", 7, "paid", headers={"traceparent": "00-1"})

    async def play() -> None:
        async with stage.running(handlers):
            await stage.publish([Sent("42", 6, "placed"), sent])
            await stage.until(COUNT, 1)

    asyncio.run(play())
    (event,) = got
    assert (event.id, event.type, event.aggregate_type, event.aggregate_id) == (sent.id, "paid", "order", "42")
    assert (event.aggregate_version, event.payload, event.seq) == (7, {"total": 120}, 1)
    assert event.headers == {"traceparent": "00-1"}
    assert event.routing_key == "order.paid"
    assert event.created_at is not None
    assert event.created_at.timestamp() == 1_700_000_000


@pytest.mark.parametrize(("unhandled", "dead"), [("ack", 3), ("dead-letter", 4)])
def test_events_that_no_handler_takes_are_counted_and_like_what_cannot_be_read_dead_lettered(
    isolated: Isolated, unhandled: str, dead: int
) -> None:
    stage = Stage(isolated)
    wide, narrow = both_kinds(), EventHandlers()

    @narrow.on("order.paid")
    def paid(event: Event, connection: psycopg.Connection[Any]) -> None:
        connection.execute(INSERT, row("paid", event))

    async def play() -> None:
        async with stage.running(wide):
            pass  # it binds order.*, and leaves the binding
        bad = [Sent("a", 1, "paid", id=None), Sent("a", 1, "paid", body=b"{"), Sent("", 1, "paid")]
        async with stage.running(narrow, events_unhandled=unhandled):
            await stage.publish([Sent("a", 1, "shipped"), *bad, Sent("b", 1, "paid")])
            await stage.until("SELECT count(*) FROM applied WHERE handler = 'paid'", 1)
            await stage.dead(dead)
        assert stage.counted("none", "unhandled") == 1
        assert stage.counted("none", "undecodable") == 3
        assert await stage.messages(stage.queue) == 0

    asyncio.run(play())


def test_an_event_put_back_from_the_dead_letter_queue_goes_to_the_handlers_of_its_first_routing_key(
    isolated: Isolated,
) -> None:
    stage = Stage(isolated)
    death = {"x-death": [{"routing-keys": ["x"]}, {"routing-keys": ["order.changed"], "count": 1}]}

    async def play() -> None:
        async with stage.running(both_kinds()):
            await stage.publish([Sent("a", 1, "other", headers=death), Sent("b", 1)], queue=stage.queue)
            await stage.until("SELECT count(*) FROM applied WHERE handler = 'by_message'", 2)

    asyncio.run(play())
