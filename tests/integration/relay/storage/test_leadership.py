"""Which replica is the active one, on a real Postgres: at most one at a time, and a new one soon after it is gone."""

import asyncio
import time

import pytest

from relay.core.errors import AnotherLeads, LeadershipLost, SourceUnavailable
from relay.storage import leadership
from sandbox import Isolated
from tests.integration.relay.stage import own_address
from tests.integration.relay.storage.leading_stage import end, pid, replica
from tests.support.proxy import Proxy

IDLE = 10
"""Seconds after which Postgres ends the session of a holder from which nothing comes: session_leader.sql."""


def test_one_takes_the_lead_and_keeps_it_however_often_it_takes_it(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with replica(isolated, "a") as first:
            assert not await first.held()
            for _ in range(3):
                await first.take()
                assert await first.held()

    asyncio.run(scenario())


def test_another_is_told_who_leads_and_does_not(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with replica(isolated, "a") as first, replica(isolated, "b") as second:
            await first.take()
            holder = (
                f"active elsewhere: 'a' on {own_address(isolated.database_url)}, pid {await pid(isolated, 'a')}, since "
            )
            with pytest.raises(AnotherLeads) as refused:
                await second.take()
            assert holder in refused.value.what
            assert not await second.held()
            assert await first.held()

    asyncio.run(scenario())


def test_relays_of_other_names_lead_beside_each_other(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with replica(isolated, "a") as first, replica(isolated, "b", relay="other") as second:
            await first.take()
            await second.take()
            assert await first.held()
            assert await second.held()

    asyncio.run(scenario())


def test_the_lead_is_free_when_the_session_has_ended_in_order(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with replica(isolated, "b") as second:
            async with replica(isolated, "a") as first:
                await first.take()
                with pytest.raises(AnotherLeads):
                    await second.take()
            await _free(second)
            assert await second.held()

    asyncio.run(scenario())


def test_who_lost_its_session_says_so_and_cannot_believe_that_a_new_session_has_the_lock(isolated: Isolated) -> None:
    """The session connects again by itself, and by then another one leads."""

    async def scenario() -> None:
        async with replica(isolated, "a") as first, replica(isolated, "b") as second:
            await first.take()
            watching = asyncio.create_task(first.run())
            await end(isolated, "a")
            await second.take()
            async with asyncio.timeout(10):
                with pytest.raises(LeadershipLost):
                    await watching
            assert not await first.held()
            assert await second.held()
            with pytest.raises(AnotherLeads):
                await first.take()

    asyncio.run(scenario())


def test_a_holder_that_asks_keeps_a_session_that_is_idle_otherwise(
    isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership, "_ASK_EVERY", 1.0)

    async def scenario() -> None:
        async with replica(isolated, "a") as first, replica(isolated, "b") as second:
            await first.take()
            watching = asyncio.create_task(first.run())
            ended, _ = await asyncio.wait({watching}, timeout=IDLE + 3)
            assert not ended
            with pytest.raises(AnotherLeads):
                await second.take()
            watching.cancel()

    asyncio.run(scenario())


def test_a_holder_that_is_frozen_is_replaced_and_finds_out_when_it_wakes(isolated: Isolated) -> None:
    """A frozen process keeps its connection, and asks nothing: Postgres ends its session."""

    async def scenario() -> None:
        async with replica(isolated, "a") as first, replica(isolated, "b") as second:
            await first.take()
            began = time.monotonic()
            await _free(second, seconds=IDLE + 10)
            assert time.monotonic() - began > IDLE - 2
            assert not await first.held()
            assert await second.held()

    asyncio.run(scenario())


def test_a_holder_whose_link_is_dead_stops_before_another_can_lead(isolated: Isolated) -> None:
    """It has no answer, and the server hears nothing: the holder gives up first."""

    async def scenario() -> None:
        with Proxy(isolated.database_url) as proxy:
            async with replica(isolated, "a", url=proxy.url) as first, replica(isolated, "b") as second:
                await first.take()
                proxy.swallow_to_server.set()
                watching = asyncio.create_task(first.run())
                taking = asyncio.create_task(_free(second, seconds=IDLE + 10))
                await asyncio.wait({watching, taking}, return_when=asyncio.FIRST_COMPLETED)
                assert watching.done()
                assert not taking.done()
                assert isinstance(watching.exception(), SourceUnavailable)
                await taking
                proxy.cut()

    asyncio.run(scenario())


async def _free(taker: leadership.Leadership, *, seconds: float = 10) -> None:
    """Take the lead as soon as it is free, which happens within `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await taker.take()
            except AnotherLeads:
                await asyncio.sleep(0.1)
            else:
                return
