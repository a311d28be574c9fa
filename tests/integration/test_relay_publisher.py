"""The publisher against a real RabbitMQ: what settles a message, and what happens to the others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from pika.channel import Channel

from messaging.connection import Connection
from messaging.errors import ChannelRefused
from messaging.topology import declare_exchange
from relay.event import Message
from relay.ledger import Ticket
from relay.publishing.publisher import RabbitPublisher
from sandbox.isolation import Isolated

Scenario = Callable[["Bench"], Coroutine[Any, Any, None]]


class Bench:
    """A publisher, what it has settled, and a channel of the test's own on the same broker."""

    def __init__(self, name: str, connection: Connection, channel: Channel, publisher: RabbitPublisher) -> None:
        self.name = name
        self.connection = connection
        self.channel = channel
        self.publisher = publisher
        self.settled: list[Ticket] = []
        self.changed = asyncio.Event()
        publisher.notify(self._settle)

    def _settle(self, tickets: Sequence[Ticket]) -> None:
        self.settled += tickets
        self.changed.set()

    def message(self, body: bytes = b"{}", key: str = "a.b") -> Message:
        return Message(str(uuid4()), self.name, key, "b", 0, {"seq": 1}, body)

    async def publish(self, *messages: Message) -> list[Ticket]:
        tickets = [Ticket() for _ in messages]
        async with asyncio.timeout(10):
            await self.publisher.publish(list(zip(tickets, messages, strict=True)))
        return tickets

    async def has_settled(self, *tickets: Ticket) -> None:
        async with asyncio.timeout(15):
            while not all(ticket in self.settled for ticket in tickets):
                self.changed.clear()
                await self.changed.wait()

    async def queue(self, key: str = "#", arguments: dict[str, object] | None = None) -> str:
        queue = f"{self.name}.{uuid4()}"
        await self.connection.call(self.channel.queue_declare, queue, exclusive=True, arguments=arguments)
        await self.connection.call(self.channel.queue_bind, queue, self.name, key)
        return queue

    async def ready(self, queue: str) -> int:
        answer = await self.connection.call(self.channel.queue_declare, queue, passive=True)
        return int(answer.message_count)

    async def get(self, queue: str) -> tuple[Any, bytes]:
        found: asyncio.Future[tuple[Any, bytes]] = asyncio.get_running_loop().create_future()

        def on_message(_: object, __: object, properties: object, body: bytes) -> None:
            found.set_result((properties, body))

        self.channel.basic_get(queue, on_message, auto_ack=True)  # a reply without a message fails by the timeout
        async with asyncio.timeout(5):
            return await found


@asynccontextmanager
async def bench(isolated: Isolated, *, window: int) -> AsyncIterator[Bench]:
    connection = await Connection.open(isolated.amqp_url, name="test")
    channel = await connection.channel()
    await declare_exchange(connection, channel, isolated.name)
    publisher = RabbitPublisher(isolated.amqp_url, name="relay", exchange=isolated.name, window=window)
    made = Bench(isolated.name, connection, channel, publisher)
    await publisher.connect()
    running = asyncio.create_task(publisher.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await connection.close()


def play(isolated: Isolated, scenario: Scenario, *, window: int = 100) -> None:
    async def run() -> None:
        async with bench(isolated, window=window) as made:
            await scenario(made)

    asyncio.run(run())


def test_a_routed_message_is_settled_and_arrives_with_its_properties(isolated: Isolated) -> None:
    async def scenario(it: Bench) -> None:
        queue = await it.queue()
        message = it.message(body='{"é": 1.10}'.encode())
        await it.has_settled(*await it.publish(message))

        properties, body = await it.get(queue)
        assert body == message.body
        assert properties.message_id == message.id
        assert properties.delivery_mode == 2
        assert properties.headers == {"seq": 1}

    play(isolated, scenario)


def test_a_returned_message_is_not_settled_until_a_queue_takes_it(isolated: Isolated) -> None:
    """RabbitMQ confirms what it cannot route: only the return tells."""

    async def scenario(it: Bench) -> None:
        routed = await it.queue("routed")
        (unroutable, fine) = await it.publish(it.message(key="unroutable"), it.message(key="routed"))
        await it.has_settled(fine)
        assert unroutable not in it.settled

        taken = await it.queue("unroutable")
        await it.has_settled(unroutable)
        assert (await it.ready(routed), await it.ready(taken)) == (1, 1)

    play(isolated, scenario)


def test_a_nacked_message_is_not_settled_until_the_broker_takes_it(isolated: Isolated) -> None:
    async def scenario(it: Bench) -> None:
        full = await it.queue(arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        await it.has_settled(*await it.publish(it.message()))
        (nacked,) = await it.publish(it.message())
        (nacked_too,) = await it.publish(it.message())
        assert nacked not in it.settled

        await it.get(full)
        await it.has_settled(nacked)
        assert nacked_too not in it.settled
        await it.get(full)
        await it.has_settled(nacked_too)

    play(isolated, scenario)


def test_a_full_window_lets_nothing_more_in(isolated: Isolated) -> None:
    async def scenario(it: Bench) -> None:
        first = [(Ticket(), it.message(key="later")) for _ in range(3)]
        publishing = asyncio.create_task(it.publisher.publish(first))
        done, _ = await asyncio.wait([publishing], timeout=0.3)
        assert not done

        await it.queue("later")
        async with asyncio.timeout(15):
            await publishing

    play(isolated, scenario, window=2)


def test_a_closed_channel_loses_nothing_and_goes_on_in_order(isolated: Isolated) -> None:
    """RabbitMQ closes the channel at the message for an exchange that is missing, and leaves the others in doubt."""

    async def scenario(it: Bench) -> None:
        queue = await it.queue()
        missing = f"{it.name}.missing"
        messages = [it.message(body=str(number).encode()) for number in range(50)]
        lost = it.message(body=b"lost")._replace(exchange=missing)
        tickets = await it.publish(*messages[:25], lost, *messages[25:])
        assert not {tickets[25], tickets[-1]} & set(it.settled)

        await declare_exchange(it.connection, it.channel, missing)
        await it.connection.call(it.channel.queue_bind, queue, missing, "#")
        await it.has_settled(*tickets)
        bodies = [(await it.get(queue))[1] for _ in range(await it.ready(queue))]
        first = list(dict.fromkeys(body for body in bodies if body != b"lost"))
        assert first == [message.body for message in messages]
        assert b"lost" in bodies

    play(isolated, scenario)


def test_a_missing_exchange_is_reported_at_the_start(isolated: Isolated) -> None:
    publisher = RabbitPublisher(isolated.amqp_url, name="relay", exchange=f"{isolated.name}.none", window=1)

    with pytest.raises(ChannelRefused, match=r"404.*none.*relay setup"):
        asyncio.run(publisher.connect())
