"""A new slot, made on a real Postgres while something else goes on: it waits, and is nobody else's."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from typing import Any, LiteralString

import psycopg
import pytest

from relay.core.errors import NotOurs, SlotHeld, SourceRefused
from relay.core.position import Lsn, Snapshot
from relay.storage.sessions.session import Session
from relay.storage.slots.new_slot import NewSlot
from relay.storage.slots.obstacles import Obstacle
from sandbox import Isolated, Sandbox
from sandbox.lifetime import private
from sandbox.machine.waiting import until
from sandbox.servers.backend import Extra
from tests.integration.relay.stage import held, one

CREATE: LiteralString = "SELECT pg_create_logical_replication_slot(%s, %s)"
CONFIRMED: LiteralString = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
UNFINISHED: LiteralString = (
    "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND confirmed_flush_lsn IS NULL"
)
SLOTS: LiteralString = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s"
STATUS: LiteralString = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s"
SECONDS = 20

Connection = psycopg.Connection[Any]


@asynccontextmanager
async def new_slot(url: str, name: str) -> AsyncIterator[NewSlot]:
    """Open what makes the slot `name`, as a relay does."""
    async with (
        Session(lambda: url, name="relay new slot", slot=name, prepared=["slot_create_abandoned"]) as making,
        Session(lambda: url, name="relay upkeep", slot=name) as asking,
    ):
        yield NewSlot(making, asking, name=name, failover=False)


def waits_for_nothing(obstacles: Sequence[Obstacle]) -> None:
    raise AssertionError(obstacles)


def make(isolated: Isolated) -> Lsn:
    """Make the slot; nothing may hold it up."""

    async def run() -> Lsn:
        async with new_slot(isolated.database_url, isolated.name) as new, asyncio.timeout(SECONDS):
            return await new.make("wal2json", waits_for_nothing)

    return asyncio.run(run())


@pytest.fixture
def writer(isolated: Isolated) -> Iterator[Connection]:
    """Yield a session with a transaction that has an id."""
    with closing(psycopg.connect(isolated.database_url, application_name="nightly report")) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        yield connection


@pytest.fixture
def maker(isolated: Isolated, writer: Connection) -> Iterator[Connection]:
    """Yield a session that is making the slot, and that `writer` holds up."""
    assert writer.info.backend_pid
    with closing(psycopg.connect(isolated.database_url, autocommit=True, application_name="dead")) as connection:
        connection.pgconn.send_query(
            f"SELECT pg_create_logical_replication_slot('{isolated.name}', 'wal2json')".encode()
        )
        until(
            lambda: one(isolated.database_url, UNFINISHED, isolated.name), what="the slot is half made", seconds=SECONDS
        )
        yield connection


async def reached(event: asyncio.Event) -> None:
    async with asyncio.timeout(SECONDS):
        await event.wait()


def test_a_slot_is_made_from_where_it_stands(isolated: Isolated) -> None:
    start = make(isolated)

    assert str(start) == one(isolated.database_url, CONFIRMED, isolated.name)
    assert make(isolated) == start, "one that is there and free is taken as it stands"


def test_a_transaction_that_holds_it_up_is_named_once_and_waited_for(isolated: Isolated, writer: Connection) -> None:
    async def scenario() -> None:
        told = asyncio.Event()
        named: list[Sequence[Obstacle]] = []

        def waits(obstacles: Sequence[Obstacle]) -> None:
            named.append(obstacles)
            told.set()

        async with new_slot(isolated.database_url, isolated.name) as new:
            making = asyncio.create_task(new.make("wal2json", waits))
            await reached(told)
            (found,) = [each for each in named[0] if each.pid == writer.info.backend_pid]
            assert "application 'nightly report', idle in transaction since" in str(found)
            assert not making.done()
            writer.commit()
            async with asyncio.timeout(SECONDS):
                start = await making
            assert (str(start), len(named)) == (one(isolated.database_url, CONFIRMED, isolated.name), 1)

    asyncio.run(scenario())


@pytest.mark.parametrize("gives_up", [False, True], ids=["it is made", "its server process ends"])
def test_a_slot_that_a_maker_left_half_made_is_waited_for(
    isolated: Isolated, writer: Connection, maker: Connection, *, gives_up: bool
) -> None:
    """The server process goes on after its client has died; only it can end the half-made slot."""
    number = maker.info.backend_pid
    maker.pgconn.finish()

    async def scenario() -> None:
        told = asyncio.Event()
        named: list[Obstacle] = []

        def waits(obstacles: Sequence[Obstacle]) -> None:
            named.extend(obstacles)
            told.set()

        async with new_slot(isolated.database_url, isolated.name) as new:
            making = asyncio.create_task(new.make("wal2json", waits))
            await reached(told)
            assert writer.info.backend_pid in [each.pid for each in named]
            assert number not in [each.pid for each in named], "it is no obstacle: it is who makes the slot"
            assert not making.done()
            if gives_up:
                assert one(isolated.database_url, "SELECT pg_terminate_backend(%s, 5000)", number)
            writer.rollback()
            async with asyncio.timeout(SECONDS):
                assert str(await making) == one(isolated.database_url, CONFIRMED, isolated.name)

    asyncio.run(scenario())


def test_one_that_is_not_waited_for_any_longer_leaves_no_half_made_slot(isolated: Isolated, writer: Connection) -> None:
    async def scenario() -> None:
        async with new_slot(isolated.database_url, isolated.name) as new:
            told = asyncio.Event()
            making = asyncio.create_task(new.make("wal2json", lambda _: told.set()))
            await reached(told)
            assert one(isolated.database_url, UNFINISHED, isolated.name) == 1
            making.cancel()
            with suppress(asyncio.CancelledError):
                await making
        gone = lambda: one(isolated.database_url, SLOTS, isolated.name) == 0  # noqa: E731 - named for its use
        await asyncio.to_thread(until, gone, what="the half-made slot is gone", seconds=SECONDS)
        assert writer.info.transaction_status is psycopg.pq.TransactionStatus.INTRANS

    asyncio.run(scenario())


def test_a_slot_that_is_lost_is_dropped_and_made_again() -> None:
    small = "max_slot_wal_keep_size = 1MB\nmin_wal_size = 32MB\nmax_wal_size = 32MB\n"
    with private.postgres(Extra(small)) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(CREATE, ["outbox_relay", "wal2json"])
            before = one(server.url, CONFIRMED, "outbox_relay")

            def lost() -> bool:
                connection.execute("SELECT pg_switch_wal()")
                connection.execute("SELECT pg_logical_emit_message(false, 'noise', repeat('x', 1000000))")
                connection.execute("CHECKPOINT")
                return bool(one(server.url, STATUS, "outbox_relay") == "lost")

            until(lost, what="the slot is lost", seconds=60)

        async def scenario() -> Lsn:
            async with new_slot(server.url, "outbox_relay") as new, asyncio.timeout(SECONDS):
                return await new.make("wal2json", waits_for_nothing)

        assert asyncio.run(scenario()) > Lsn.parse(before)
        assert one(server.url, STATUS, "outbox_relay") == "reserved"


@pytest.mark.parametrize("plugin", ["pgoutput", "test_decoding"])
def test_a_slot_of_another_plugin_is_left_alone(isolated: Isolated, plugin: str) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(CREATE, [isolated.name, plugin])
    before = one(isolated.database_url, CONFIRMED, isolated.name)

    with pytest.raises(SourceRefused, match=f"was made with {plugin}, and not by this relay"):
        make(isolated)

    assert one(isolated.database_url, CONFIRMED, isolated.name) == before


def test_a_slot_of_another_database_is_left_alone(isolated: Isolated, sandbox: Sandbox) -> None:
    with sandbox.isolated() as other:
        with psycopg.connect(other.database_url, autocommit=True) as connection:
            connection.execute(CREATE, [isolated.name, "wal2json"])
        before = one(other.database_url, CONFIRMED, isolated.name)
        try:
            with pytest.raises(NotOurs, match=f"belongs to database '{other.name}'"):
                make(isolated)
            assert one(other.database_url, CONFIRMED, isolated.name) == before
        finally:
            one(other.database_url, "SELECT pg_drop_replication_slot(%s)", isolated.name)


def test_a_slot_that_somebody_streams_from_is_not_taken(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(CREATE, [isolated.name, "wal2json"])

    with held(isolated), pytest.raises(SlotHeld, match="is in use by pid"):
        make(isolated)


def test_a_transaction_that_is_drawn_is_above_all_that_have_an_id(isolated: Isolated, writer: Connection) -> None:
    """Also above one that has committed and is not visible yet, which no snapshot's end is."""
    older = one(
        isolated.database_url,
        "SELECT backend_xid::text::bigint FROM pg_stat_activity WHERE pid = %s",
        writer.info.backend_pid,
    )

    def snapshot() -> Snapshot:
        return Snapshot.parse(one(isolated.database_url, "SELECT pg_current_snapshot()::text"))

    async def scenario() -> None:
        async with new_slot(isolated.database_url, isolated.name) as new:
            drawn = await new.next_transaction()
            assert drawn > older
            assert not snapshot().xmin > drawn
            writer.commit()
            await new.next_transaction()
            assert snapshot().sees(drawn)

    asyncio.run(scenario())
