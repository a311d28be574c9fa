"""Links that go dead silently, on either side and in either direction: the relay notices within its limits."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from outboxkit import sql
from relay.core.errors import SourceStalled, SourceUnavailable
from relay.core.evidence import Evidence
from relay.core.lifetime.supervisor import Supervisor
from relay.core.observations import Blocked, BrokerLost, Observation
from relay.publishing.link import Timings
from relay.sources.layout import NATIVE
from relay.sources.wal.decoders.decoding import Decoder, decoder
from relay.sources.wal.decoders.relations import Relations
from relay.sources.wal.opening import Decoding
from relay.sources.wal.source import WalSource
from relay.sources.wal.stream import WalStream, Writing
from relay.storage.facts import Owner, TableFacts
from relay.storage.fence import FenceWriter
from relay.storage.position import StoredPosition
from relay.storage.server import Server
from relay.storage.sessions.deadline import deadline
from relay.storage.sessions.session import Session
from sandbox import Sandbox
from sandbox.lifetime.isolation import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.publishing.publisher_stage import Bench, play
from tests.integration.relay.stage import stream
from tests.support.proxy import Proxy

QUESTION = b"\x00\x3c\x00\x0a"  # basic.qos


class Slot:
    """A slot behind a proxy, whose streams fall silent."""

    def __init__(self, isolated: Isolated, proxy: Proxy) -> None:
        self._isolated = isolated
        self._proxy = proxy
        with psycopg.connect(isolated.database_url, autocommit=True) as connection:
            connection.execute(sql.query("slot_create"), {"slot": isolated.name, "plugin": "wal2json"})
            names = {"name": "test", "slot": isolated.name, "outboxes": ["outbox.event"]}
            connection.execute(sql.query("checkpoint_reset"), names)
            alter = SQL("ALTER DATABASE {} SET wal_sender_timeout = '2s'")
            connection.execute(alter.format(Identifier(connection.info.dbname)))

    async def falls_silent(self, opens: Callable[[], AbstractAsyncContextManager[WalStream]], *, lively: bool) -> str:
        """Open a stream, silence it, and return the error; a lively stream has had a fence back before."""
        until(self._free, what="the slot is free", seconds=10)
        with pytest.raises(SourceStalled) as raised:
            await self._silence(opens, lively=lively)
        self._proxy.swallow_to_client.clear()
        self._proxy.cut()
        return raised.value.what

    async def _silence(self, opens: Callable[[], AbstractAsyncContextManager[WalStream]], *, lively: bool) -> None:
        async with opens() as reading, Supervisor(lambda _: None) as beside:
            beside.start("stream", reading.run())
            await _read(reading, lively=lively)
            self._proxy.swallow_to_client.set()
            await _read(reading)

    def _free(self) -> bool:
        with psycopg.connect(self._isolated.database_url) as connection:
            held = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
            return connection.execute(held, [self._isolated.name]).fetchall() == [(False,)]


async def _read(stream: WalStream, *, lively: bool | None = None) -> None:
    """Read until `lively` holds; without it, until an error ends the stream."""
    while lively is None or stream.lively < lively:
        await stream.receive()


def _decoder(plugin: str, facts: TableFacts) -> tuple[Decoder, Mapping[str, str]]:
    return decoder(plugin, NATIVE, None, publication="unused", relations=Relations.of(NATIVE, facts))


def test_the_limit_doubles_for_each_stream_in_a_row_that_falls_silent_until_one_has_lived(
    isolated: Isolated,
) -> None:
    """A server that decodes something huge is as silent as a dead link, and must get to its end some day."""

    async def scenario() -> None:
        with Proxy(isolated.database_url) as proxy:
            slot = Slot(isolated, proxy)
            async with Session(lambda: isolated.database_url, name="test", slot=isolated.name) as session:
                owner = Owner("test", isolated.name, ["outbox.event"])
                server = Server(session, name="test", slot=isolated.name, table=owner.table)
                positions = StoredPosition(session, owner, Evidence(recording=False))
                source = WalSource(
                    lambda: proxy.url,
                    server,
                    owner,
                    Decoding(_decoder, lambda *_: None),
                    plugin="wal2json",
                    writing=Writing(positions, FenceWriter(session, table=owner.table)),
                    observe=lambda _: None,
                )
                opens = partial(stream, source, server, positions)
                said = [await slot.falls_silent(opens, lively=lively) for lively in (False, True, False)]
        assert said == [f"Postgres has been silent for {seconds} s" for seconds in (2, 4, 2)]

    asyncio.run(scenario())


def test_a_query_that_is_not_answered_is_given_up_at_its_deadline(isolated: Isolated) -> None:
    async def scenario() -> None:
        with Proxy(isolated.database_url) as proxy:
            async with await psycopg.AsyncConnection.connect(proxy.url) as connection:
                proxy.swallow_to_server.set()
                started = time.monotonic()
                with pytest.raises(SourceUnavailable, match="has not answered for 1 s"), deadline(connection, 1):
                    await connection.execute("SELECT 1")
                assert time.monotonic() - started < 8

    asyncio.run(scenario())


def test_a_query_that_fails_in_time_raises_its_own_error(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with await psycopg.AsyncConnection.connect(isolated.database_url) as connection:
            with pytest.raises(psycopg.errors.DivisionByZero), deadline(connection):
                await connection.execute("SELECT 1 / 0")

    asyncio.run(scenario())


@pytest.mark.parametrize(("to_server", "to_client"), [(True, True), (True, False), (False, True)])
def test_a_broker_that_does_not_answer_is_given_up_and_messages_in_doubt_are_published_again(
    isolated: Isolated, *, to_server: bool, to_client: bool
) -> None:
    timings = Timings(ask_after=0.5, answer_within=1)
    with Proxy(isolated.amqp_url) as proxy:

        async def scenario(it: Bench) -> None:
            await it.queue()
            for hole in [proxy.swallow_to_server] * to_server + [proxy.swallow_to_client] * to_client:
                hole.set()
            stretches = await it.publish(it.message(), it.message())
            async with asyncio.timeout(5):
                await _seen(it, BrokerLost)
            (lost,) = [seen.problem.what for seen in it.seen if isinstance(seen, BrokerLost)]
            assert lost == "RabbitMQ does not answer"
            proxy.swallow_to_server.clear()
            proxy.swallow_to_client.clear()
            proxy.cut()
            await it.has_settled(*stretches)

        play(isolated, scenario, through=proxy.url, timings=timings)


def test_a_connection_to_an_idle_broker_that_answers_is_kept(isolated: Isolated) -> None:
    timings = Timings(ask_after=0.1, answer_within=3)
    said: list[bytes] = []
    with Proxy(isolated.amqp_url, lambda _, to_server, data: said.append(data) if to_server else None) as proxy:

        async def scenario(it: Bench) -> None:
            async with asyncio.timeout(10):
                while b"".join(said).count(QUESTION) < 4:
                    await asyncio.wait([it.running], timeout=0.05)
            assert not [seen for seen in it.seen if isinstance(seen, BrokerLost)]

        play(isolated, scenario, through=proxy.url, timings=timings)


def test_a_broker_that_blocks_the_connection_is_waited_for(sandbox: Sandbox, isolated: Isolated) -> None:
    timings = Timings(ask_after=0.2, answer_within=3)

    async def scenario(it: Bench) -> None:
        await it.queue()
        with _memory_alarm(sandbox):
            stretches = await it.publish(it.message())
            async with asyncio.timeout(15):
                await _seen(it, Blocked)
            await asyncio.wait([it.running], timeout=5)  # longer than a silent broker would have
        await it.has_settled(*stretches)
        assert not [seen for seen in it.seen if isinstance(seen, BrokerLost)]

    play(isolated, scenario, timings=timings)


@contextmanager
def _memory_alarm(box: Sandbox) -> Iterator[None]:
    """Make the broker take no messages inside the block: https://www.rabbitmq.com/docs/alarms."""
    box.rabbitmq.control("eval", "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).")
    try:
        yield
    finally:
        box.rabbitmq.control("eval", "rabbit_alarm:clear_alarm({resource_limit, memory, node()}).")


async def _seen(it: Bench, kind: type[Observation]) -> None:
    while not any(isinstance(seen, kind) for seen in it.seen):
        await asyncio.wait([it.running], timeout=0.05)
