"""The WAL source against a real Postgres: what is delivered, in which order, and what a confirm moves."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import psycopg
import pytest

from relay.core.errors import SlotHeld, SlotMissing, SourceUnavailable
from relay.core.event import Boundary, OutboxEvent
from relay.core.evidence import Evidence
from relay.core.lifetime.supervisor import Supervisor
from relay.core.position import Lsn
from relay.operating.setup.steps import setup
from relay.settings import RelaySettings
from relay.sources.layout import layout
from relay.sources.wal.decoders.decoding import Decoder, decoder
from relay.sources.wal.decoders.relations import Relations
from relay.sources.wal.opening import Decoding
from relay.sources.wal.source import WalSource
from relay.sources.wal.stream import WalStream, Writing
from relay.storage.facts import TableFacts
from relay.storage.fence import FenceWriter
from relay.storage.position import StoredPosition
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from sandbox.lifetime.isolation import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.stage import stream, streams


@pytest.fixture
def settings(isolated: Isolated) -> RelaySettings:
    """Return the settings of a relay that is set up."""
    made = RelaySettings.model_validate(
        {
            "database_url": isolated.database_url,
            "amqp_url": isolated.amqp_url,
            "slot": isolated.name,
            "exchange": isolated.name,
        }
    )
    assert list(setup(made, accept_gap=False))
    streams(isolated)
    return made


def _decoder(plugin: str, facts: TableFacts) -> tuple[Decoder, Mapping[str, str]]:
    outbox = layout("native", "outbox.event", {}, partitioned=facts.partitioned)
    return decoder(plugin, outbox, None, publication="unused", relations=Relations.of(outbox, facts))


@asynccontextmanager
async def opened(settings: RelaySettings) -> AsyncIterator[WalStream]:
    """Open a stream from the stored position; it writes fences while it is open."""
    url = settings.database_url.get_secret_value()

    async with Session(lambda: url, name=settings.name, slot=settings.slot) as session:
        server = Server(session, name=settings.name, slot=settings.slot, table=settings.table)
        positions = StoredPosition(session, settings.owner, Evidence(recording=False))
        source = WalSource(
            lambda: url,
            server,
            settings.owner,
            Decoding(_decoder, lambda *_: None),
            plugin="auto",
            writing=Writing(positions, FenceWriter(session, table=settings.table)),
            observe=lambda _: None,
        )
        async with stream(source, server, positions) as reading, Supervisor(lambda _: None) as beside:
            beside.start("stream", reading.run())
            yield reading


async def events(stream: WalStream, count: int) -> list[OutboxEvent]:
    """Return the next `count` events; fails when they do not come within ten seconds."""
    found, _ = await read(stream, count)
    return found


async def read(stream: WalStream, count: int) -> tuple[list[OutboxEvent], list[Lsn]]:
    """Return the next `count` events, and for each the end LSN of its transaction."""
    found: list[OutboxEvent] = []
    ends: list[Lsn] = []
    async with asyncio.timeout(10):
        while len(ends) < count:
            for item in await stream.receive():
                if isinstance(item, Boundary):
                    ends += [item.position] * (len(found) - len(ends))
                else:
                    found.append(item)
    return found[:count], ends[:count]


def write(settings: RelaySettings, *names: str, payload: str = "{}") -> None:
    """Commit one event for each of `names`, each in a transaction of its own."""
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        for name in names:
            connection.execute("SELECT outbox.publish('t', %s, 1, 'e', %s::jsonb)", (name, payload))


def names(found: Sequence[OutboxEvent]) -> list[str]:
    return [event.aggregate_id for event in found]


async def confirmed_flush(settings: RelaySettings) -> Lsn:
    async with await psycopg.AsyncConnection.connect(settings.database_url.get_secret_value()) as connection:
        query = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
        row = await (await connection.execute(query, (settings.slot,))).fetchone()
    assert row is not None
    return Lsn.parse(row[0])


def test_every_committed_event_arrives_and_nothing_that_was_rolled_back(settings: RelaySettings) -> None:
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        publish = "SELECT outbox.publish('t', %s, 1, 'e', '{}')"
        connection.execute(publish, ("kept",))
        with connection.transaction():
            connection.execute(publish, ("rolled back to a savepoint",))
            raise psycopg.Rollback
        connection.execute(publish, ("kept too",))
        connection.commit()
        connection.execute(publish, ("rolled back",))
        connection.rollback()
    write(settings, "last")

    async def scenario() -> None:
        async with opened(settings) as stream:
            assert names(await events(stream, 3)) == ["kept", "kept too", "last"]

    asyncio.run(scenario())


def test_transactions_arrive_in_commit_order_and_whole(settings: RelaySettings) -> None:
    url = settings.database_url.get_secret_value()
    publish = "SELECT outbox.publish('t', %s, 1, 'e', '{}')"
    with psycopg.connect(url) as early, psycopg.connect(url) as late:
        early.execute(publish, ("early 1",))
        late.execute(publish, ("late 1",))
        early.execute(publish, ("early 2",))
        late.execute(publish, ("late 2",))
        late.commit()
        early.commit()

    async def scenario() -> None:
        async with opened(settings) as stream:
            assert names(await events(stream, 4)) == ["late 1", "late 2", "early 1", "early 2"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "payload",
    [
        '{"n": 123456789012345678901234567890, "small": 1.10}',
        '"tab \\t quote \\" backslash \\\\ control \\u0001"',
        '{"ключ": "значение", "emoji": "😀"}',
        "null",
        "[]",
    ],
)
def test_the_payload_arrives_as_postgres_stores_it(settings: RelaySettings, payload: str) -> None:
    write(settings, "a", payload=payload)
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        stored = connection.execute("SELECT payload::text FROM outbox.event").fetchone()

    async def scenario() -> None:
        async with opened(settings) as stream:
            (event,) = await events(stream, 1)
            assert (event.payload.decode(),) == stored

    asyncio.run(scenario())


def test_rows_of_a_copy_arrive_one_by_one(settings: RelaySettings) -> None:
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        columns = "aggregate_type, aggregate_id, aggregate_version, event_type, payload"
        with connection.cursor().copy(f"COPY outbox.event ({columns}) FROM STDIN") as copy:
            for number in range(500):
                copy.write_row(("t", str(number), 1, "e", "{}"))

    async def scenario() -> None:
        async with opened(settings) as stream:
            found = await events(stream, 500)
            assert names(found) == [str(number) for number in range(500)]
            assert len({event.id for event in found}) == 500

    asyncio.run(scenario())


def test_after_a_confirm_of_the_end_lsn_the_transaction_is_gone_and_the_next_one_is_there(
    settings: RelaySettings,
) -> None:
    """One byte more would lose the next transaction wherever its commit record is adjacent."""
    write(settings, *map(str, range(20)))

    async def scenario() -> None:
        for number in range(20):
            async with opened(settings) as stream:
                found, (end, *_) = await read(stream, 1)
                assert names(found)[0] == str(number)
                stream.confirm(end)
                await stream.store(end)
            assert await confirmed_flush(settings) == end

    asyncio.run(scenario())


def test_the_slot_stays_below_an_event_in_flight_however_far_keepalives_go(settings: RelaySettings) -> None:
    async def scenario() -> None:
        async with opened(settings) as stream:
            before = await confirmed_flush(settings)
            await asyncio.to_thread(write, settings, "in flight")
            _, (end, *_) = await read(stream, 1)
            await asyncio.to_thread(_other_wal, settings)
            keepalive = end
            async with asyncio.timeout(10):
                while keepalive <= end:  # the server has gone on, and said so
                    keepalive = max(item.position for item in await stream.receive() if isinstance(item, Boundary))
            assert before <= await confirmed_flush(settings) < end

    asyncio.run(scenario())


def _other_wal(settings: RelaySettings) -> None:
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("SELECT pg_logical_emit_message(false, 'noise', repeat('x', 100000))")
        connection.execute("CREATE TABLE noise AS SELECT 1")


def test_an_unconfirmed_event_comes_again(settings: RelaySettings) -> None:
    write(settings, "a")

    async def scenario() -> None:
        for _ in range(2):
            async with opened(settings) as stream:
                assert names(await events(stream, 1)) == ["a"]

    asyncio.run(scenario())


def test_the_stored_checkpoint_holds_where_the_slot_was_set_back(settings: RelaySettings) -> None:
    """A crash of Postgres does that, or of a relay that has stored and not reported."""
    write(settings, "a", "b")

    async def scenario() -> None:
        async with opened(settings) as stream:
            _, (end, *_) = await read(stream, 2)
        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            connection.execute("UPDATE relay.checkpoint SET lsn = %s", (str(end),))
        async with opened(settings) as stream:
            assert names(await events(stream, 1)) == ["b"]

    asyncio.run(scenario())


def test_a_second_stream_is_told_who_holds_the_slot(settings: RelaySettings) -> None:
    async def scenario() -> None:
        async with opened(settings):
            with pytest.raises(SlotHeld, match=rf"slot '{settings.slot}' is held by 'relay', pid \d+, since "):
                async with opened(settings):
                    pass

    asyncio.run(scenario())


def test_what_arrived_before_the_stream_was_ended_is_handed_over_before_the_end_is_told(
    settings: RelaySettings,
) -> None:
    async def scenario() -> None:
        found: list[OutboxEvent] = []
        async with opened(settings) as stream:
            write(settings, "a", "b")
            _end_stream(settings)
            async with asyncio.timeout(10):
                with pytest.raises(SourceUnavailable, match="terminating connection"):
                    await _read_on(stream, found)
        assert names(found) == ["a", "b"]

    asyncio.run(scenario())


async def _read_on(stream: WalStream, found: list[OutboxEvent]) -> None:
    while True:
        found += [item for item in await stream.receive() if isinstance(item, OutboxEvent)]


def _end_stream(settings: RelaySettings) -> None:
    """End it when everything is sent; it is not read meanwhile."""
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        sent = "SELECT sent_lsn >= pg_current_wal_lsn() FROM pg_stat_replication WHERE application_name = 'relay'"
        until(lambda: connection.execute(sent).fetchall() == [(True,)], what="everything is sent", seconds=10)
        end = "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = %s"
        connection.execute(end, (settings.slot,))


def test_a_lost_slot_is_not_made_again_unless_the_gap_is_accepted_where_nothing_is_polled(
    settings: RelaySettings,
) -> None:
    settings = settings.model_copy(update={"source": "wal"})

    async def scenario() -> None:
        async with opened(settings):
            pass

    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("SELECT pg_drop_replication_slot(%s)", (settings.slot,))
    with pytest.raises(SlotMissing, match="it was lost: events after"):
        asyncio.run(scenario())
    with pytest.raises(SlotMissing, match="no slot has what was committed since"):
        list(setup(settings, accept_gap=False))
    assert any("created" in line for line in setup(settings, accept_gap=True))
    asyncio.run(scenario())
