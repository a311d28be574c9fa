"""Servers that go away, connections that break in the middle, handlers that do not end."""

import asyncio
import threading
from typing import Any

import psycopg
import pytest

from consumers.errors import DatabaseFailed, HandlersAbandoned
from consumers.events.declaring.event import Event
from consumers.events.declaring.registry import EventHandlers
from sandbox import Isolated, Sandbox
from sandbox.machine.waiting import until
from tests.integration.consumers.events.stage import INSERT, Stage, aggregate, row, wait
from tests.support.proxy import Proxy

HELD = "SELECT pg_advisory_xact_lock(4712)"
NAMES = "abcd"
EVENTS = [event for version in range(1, 16) for name in NAMES for event in aggregate(name, (version,))]


def both_kinds() -> EventHandlers:
    handlers = EventHandlers()

    @handlers.on("order.*")
    def in_threads(event: Event, connection: psycopg.Connection[Any]) -> None:
        connection.execute(INSERT, row("in_threads", event))

    @handlers.on("order.*", by="version")
    async def on_loop(event: Event, connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.execute(INSERT, row("on_loop", event))

    return handlers


def is_whole(stage: Stage) -> None:
    """Everything was applied once, in order."""
    for handler in ("in_threads", "on_loop"):
        applied = stage.applied(handler)
        for name in NAMES:
            assert [version for each, version in applied if each == name] == list(range(1, 16)), handler
    assert stage.parked() == []


def test_events_wait_while_postgres_is_away_and_none_is_lost_or_applied_twice(
    isolated: Isolated, sandbox: Sandbox
) -> None:
    stage = Stage(isolated)

    async def play() -> None:
        async with stage.running(both_kinds(), events_attempts=50, events_retry_cap=1) as worker:

            async def away() -> bool:
                return not worker.up

            await stage.publish(EVENTS[:20])
            await stage.until("SELECT count(*) FROM applied", 40)
            await asyncio.to_thread(sandbox.postgres.stop, "immediate")
            try:
                await stage.publish(EVENTS[20:])
                await wait(away)
            finally:
                await asyncio.to_thread(sandbox.postgres.start)
            await stage.until("SELECT count(*) FROM applied", 2 * len(EVENTS), seconds=60)
            assert worker.up
        assert await stage.messages(stage.queue) == 0

    asyncio.run(play())
    is_whole(stage)


def test_a_commit_whose_answer_is_lost_is_found_out_by_the_next_claim(isolated: Isolated) -> None:
    stage, handlers = Stage(isolated), both_kinds()
    cut = threading.Event()

    def watch(_: int, to_server: bool, sent: bytes) -> None:  # noqa: FBT001 - the proxy's signature
        if to_server and b"COMMIT" in sent and not cut.is_set():
            cut.set()

    with Proxy(isolated.database_url, watch) as postgres:

        async def play() -> None:
            async with stage.running(handlers, database_url=postgres.url, events_attempts=50, events_retry_cap=1):
                await stage.publish(EVENTS[:4])
                for at in range(4, len(EVENTS), 8):
                    await stage.publish(EVENTS[at : at + 8])
                    cut.clear()
                    await asyncio.to_thread(cut.wait, 5)  # a COMMIT is on its way
                    await asyncio.to_thread(postgres.cut)
                await stage.until("SELECT count(*) FROM applied", 2 * len(EVENTS), seconds=60)

        asyncio.run(play())
    is_whole(stage)


def test_a_broker_that_is_cut_off_delivers_again_and_the_order_holds(isolated: Isolated) -> None:
    stage = Stage(isolated)
    with Proxy(isolated.amqp_url) as broker:

        async def play() -> None:
            async with stage.running(both_kinds(), amqp_url=broker.url):
                for at in range(0, len(EVENTS), 12):
                    await stage.publish(EVENTS[at : at + 12])
                    await asyncio.to_thread(broker.cut)
                await stage.until("SELECT count(*) FROM applied", 2 * len(EVENTS), seconds=60)

        asyncio.run(play())
    is_whole(stage)


def test_two_consumers_at_once_apply_every_event_once_where_one_at_a_time_is_not_wanted(isolated: Isolated) -> None:
    stage = Stage(isolated)

    async def play() -> None:
        shared = {"events_single_active": False, "concurrency": 2, "events_prefetch": 4, "events_gap_wait": 60}
        async with stage.running(both_kinds(), **shared), stage.running(both_kinds(), **shared):
            await stage.publish([*EVENTS, *EVENTS])
            await stage.until("SELECT count(*) FROM applied", 2 * len(EVENTS), seconds=60)

    asyncio.run(play())
    applied = stage.applied("on_loop")
    for name in NAMES:
        assert [version for each, version in applied if each == name] == list(range(1, 16))
    assert len(set(stage.applied("in_threads"))) == len(EVENTS)


@pytest.mark.parametrize("threads", [False, True])
def test_a_handler_that_does_not_end_within_the_grace_is_said_and_its_event_comes_again(
    isolated: Isolated, *, threads: bool
) -> None:
    stage, handlers, release = Stage(isolated), EventHandlers(), threading.Event()
    begun = threading.Event()

    if threads:

        @handlers.on("order.*", name="slow")
        def slow_in_a_thread(event: Event, connection: psycopg.Connection[Any]) -> None:
            connection.execute(INSERT, row("slow", event))
            begun.set()
            release.wait(60)

    else:

        @handlers.on("order.*", name="slow")
        async def slow(event: Event, connection: psycopg.AsyncConnection[Any]) -> None:
            await connection.execute(INSERT, row("slow", event))
            begun.set()
            await asyncio.sleep(60)

    async def play() -> None:
        stopping = stage.running(handlers, grace=0.2)
        await stopping.__aenter__()
        await stage.publish(aggregate("a", (1,)))
        await asyncio.to_thread(begun.wait, 30)
        with pytest.raises(HandlersAbandoned, match=r"1 event handlers were not done within 0\.2 s"):
            await stopping.__aexit__(None, None, None)
        release.set()

    asyncio.run(play())
    asyncio.run(_comes_again(stage, applied=threads))


async def _comes_again(stage: Stage, *, applied: bool) -> None:
    """Consume what was given back: the thread has committed meanwhile, and the coroutine was rolled back."""
    handlers = EventHandlers()

    @handlers.on("order.*", name="slow")
    def slow(event: Event, connection: psycopg.Connection[Any]) -> None:
        connection.execute(INSERT, row("slow", event))

    async with stage.running(handlers):
        await stage.counts("slow", "duplicate" if applied else "applied", 1)
    assert stage.applied("slow") == [("a", 1)]


def test_a_database_without_an_inbox_ends_the_consumer_with_a_remedy_and_its_events_go_back(isolated: Isolated) -> None:
    stage = Stage(isolated)

    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP FUNCTION inbox.claim")

    async def runs() -> None:
        async with stage.running(both_kinds()):
            await stage.publish(aggregate("a", (1,)))
            await asyncio.wait_for(stage.stop.wait(), 30)

    with pytest.raises(DatabaseFailed, match="run `consumers setup` of this version"):
        asyncio.run(runs())
    until(lambda: asyncio.run(stage.messages(stage.queue)) == 1, what="its event is back", seconds=30)
