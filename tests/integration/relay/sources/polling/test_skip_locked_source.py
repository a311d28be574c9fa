"""How a poller that shares a table begins, and begins again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest

from outboxkit.errors import Problem
from relay.core.errors import AnotherLeads, SourceRefused
from relay.core.event import Boundary
from relay.core.evidence import Evidence
from relay.core.position import BatchPosition
from relay.sources.layout import NATIVE
from relay.sources.polling.skip_locked.source import Sessions, Settings, SharedRedrives, SkipLockedSource
from relay.storage.facts import Facts, Owner
from relay.storage.leadership import Leadership
from relay.storage.parking import PostgresParking
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from sandbox import Isolated
from tests.integration.relay.sources.polling.poller import begin
from tests.integration.relay.stage import one, publish

_MARKS = "SELECT count(*) FROM relay.mark"


@asynccontextmanager
async def source(isolated: Isolated, *, shared: bool = True) -> AsyncIterator[tuple[SkipLockedSource, Leadership]]:
    def session(name: str, *prepared: str) -> Session:
        return Session(lambda: isolated.database_url, name=name, slot="none", prepared=prepared)

    async with (
        session("batches", "stream_formats", "session_skip_locked") as batches,
        session("beside") as beside,
        session("marks") as marks,
        session("leader", "session_leader") as leader,
    ):
        leadership = Leadership(leader, name="relay", shared=shared)
        yield (
            SkipLockedSource(
                Server(beside, name="relay", slot="none", table="outbox.event"),
                Owner("relay", "none", ["outbox.event"]),
                Sessions(batches, beside, marks, None),
                leadership,
                lambda _: NATIVE,
                settings=Settings(interval=0.1, batch=10, aggregates=False),
                evidence=Evidence(recording=False),
                observe=lambda _: None,
            ),
            leadership,
        )


async def confirmed(isolated: Isolated, polled: SkipLockedSource) -> Boundary[BatchPosition]:
    """Publish two rows, end the session that has them locked before they are marked, and return how far that is."""
    await begin(isolated)
    publish(isolated.database_url, "1", "2")
    async with polled.open(None) as stream:
        running = asyncio.create_task(stream.run())
        boundary = (await stream.receive())[-1]
        assert isinstance(boundary, Boundary)
        assert await polled.held()
        with psycopg.connect(isolated.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE application_name = 'batches'"
            )
        assert not await polled.held()
        with pytest.raises(Problem):
            await running
    assert one(isolated.database_url, _MARKS) == 0
    return boundary


def test_what_was_confirmed_and_not_marked_is_marked_when_the_table_is_opened_again(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with source(isolated) as (polled, _):
            boundary = await confirmed(isolated, polled)
            async with polled.open(boundary.position):
                assert one(isolated.database_url, _MARKS) == 2

    asyncio.run(scenario())


def test_it_is_not_marked_on_a_server_that_was_started_again(
    isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That may be a standby that was promoted: it may lack these rows, and give their keys and ids to others."""
    facts = Server.facts

    async def started_again(server: Server) -> Facts:
        return replace(await facts(server), server_started_at=datetime.now(UTC))

    async def scenario() -> None:
        async with source(isolated) as (polled, _):
            boundary = await confirmed(isolated, polled)
            monkeypatch.setattr(Server, "facts", started_again)
            async with polled.open(boundary.position) as stream:
                assert one(isolated.database_url, _MARKS) == 0
                running = asyncio.create_task(stream.run())
                assert len(await stream.receive()) == 3, "both rows come again"
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running

    asyncio.run(scenario())


def test_what_was_streamed_before_is_marked_and_not_published_again(isolated: Isolated) -> None:
    async def scenario() -> None:
        await begin(isolated)
        publish(isolated.database_url, "streamed")
        publish(isolated.database_url, "left")
        with psycopg.connect(isolated.database_url) as connection:
            connection.execute(
                "UPDATE relay.checkpoint SET mode = 'wal', lsn = '0/1', streamed ="
                " (SELECT int8multirange(int8range(min(tx::text::bigint), min(tx::text::bigint), '[]'))"
                "  FROM outbox.event)"
            )
        async with source(isolated) as (polled, _), polled.open(None) as stream:
            running = asyncio.create_task(stream.run())
            events = await stream.receive()
            assert [getattr(event, "aggregate_id", None) for event in events] == ["left", None]
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        assert one(isolated.database_url, "SELECT mode || streamed::text FROM relay.checkpoint") == "polling{}"

    asyncio.run(scenario())


def test_a_relay_without_a_position_is_refused(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with source(isolated) as (polled, _):
            with pytest.raises(SourceRefused, match="has no stored position"):
                async with polled.open(None):
                    pass

    asyncio.run(scenario())


def test_pollers_share_the_lock_and_one_of_them_publishes_what_is_redriven(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with (
            source(isolated) as (_, first),
            source(isolated) as (_, second),
            source(isolated, shared=False) as (_, alone),
        ):
            await first.take()
            await second.take()
            await first.take()
            assert await first.held()
            assert await second.held()
            with pytest.raises(AnotherLeads):
                await alone.take()
            assert [await first.redrives(), await second.redrives(), await first.redrives()] == [True, False, True]
            async with Session(lambda: isolated.database_url, name="parking", slot="none") as session:
                parking = PostgresParking(session, relay="relay", outbox="outbox.event")
                assert list(await SharedRedrives(parking, second).asked()) == []

    asyncio.run(scenario())
