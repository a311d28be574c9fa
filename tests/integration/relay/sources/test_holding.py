"""Whether the slot is still the stream's, as the server says; and the walsender's own timeout."""

import asyncio
from collections.abc import Mapping

import psycopg

from relay.sources.layout import NATIVE
from relay.sources.wal.decoders.decoding import Decoder, decoder
from relay.sources.wal.decoders.relations import Relations
from relay.sources.wal.opening import Decoding
from relay.sources.wal.replication import ReplicationConnection
from relay.sources.wal.source import WalSource
from relay.storage.facts import Owner, TableFacts
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.stage import held, one, stream
from tests.support.roles import alter

END = "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = %s"
FREE = "SELECT NOT active FROM pg_replication_slots WHERE slot_name = %s"


def _decoder(plugin: str, facts: TableFacts) -> tuple[Decoder, Mapping[str, str]]:
    return decoder(plugin, NATIVE, None, publication="unused", relations=Relations.of(NATIVE, facts))


def _source(isolated: Isolated, server: Server) -> WalSource:
    return WalSource(
        lambda: isolated.database_url,
        server,
        Owner("relay", isolated.name, ["outbox.event"]),
        Decoding(_decoder, lambda *_: None),
        plugin="auto",
        writing=None,
        observe=lambda _: None,
    )


def test_a_stream_has_its_slot_until_another_process_takes_it(streaming: Isolated) -> None:
    async def scenario() -> None:
        async with Session(lambda: streaming.database_url, name="relay", slot=streaming.name) as session:
            server = Server(session, name="relay", slot=streaming.name, table="outbox.event")
            source = _source(streaming, server)
            assert not await source.held()
            async with stream(source, server):
                assert await source.held()
                with psycopg.connect(streaming.database_url, autocommit=True) as connection:
                    connection.execute(END, [streaming.name])
                until(lambda: one(streaming.database_url, FREE, streaming.name), what="the slot is free", seconds=10)
                assert not await source.held()
                with held(streaming):
                    assert not await source.held()

    asyncio.run(scenario())


def test_a_timeout_that_was_set_for_the_database_counts_at_the_next_connect(ready: Isolated) -> None:
    async def scenario() -> None:
        alter(ready.database_url, "ALTER DATABASE {} SET wal_sender_timeout = '7s'", ready.name)
        connection = await ReplicationConnection.connect(ready.database_url, slot=ready.name, name="relay")
        assert await connection.sender_timeout() == 7000
        await connection.close()

    asyncio.run(scenario())
