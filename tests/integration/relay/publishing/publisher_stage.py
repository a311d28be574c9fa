"""A stage for the publisher: a real RabbitMQ, and what the publisher reports of each message."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

from pika.channel import Channel

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import declare_exchange
from relay.core.event import Message, Route
from relay.core.ledger import Stretch
from relay.core.observations import Confirmed, Nacked, Observation
from relay.core.ports import Parcel, Rejection
from relay.publishing.link import TIMINGS, Broker, Timings
from relay.publishing.publisher import Policy, RabbitPublisher
from sandbox.lifetime.isolation import Isolated
from tests.support.examples import EVENT

POLICY = Policy(
    name="relay",
    exchange="",
    window=100,
    max_message_bytes=1 << 20,
    on_return="retry",
    confirm_timeout=30,
)
Scenario = Callable[["Bench"], Coroutine[Any, Any, None]]


class Bench:
    """A publisher, the outcomes that it reported, and a channel of the test's own on the same broker."""

    def __init__(self, name: str, connection: Connection, channel: Channel, publisher: RabbitPublisher) -> None:
        self.name = name
        self.connection = connection
        self.channel = channel
        self.publisher = publisher
        self.settled: list[Stretch] = []
        self.rejections: list[Rejection] = []
        self.changed = asyncio.Event()
        self.running: asyncio.Task[None]
        self.seen: list[Observation] = []
        publisher.notify(self)

    def confirmed(self, parcels: Sequence[Parcel]) -> None:
        self.settled += [parcel.stretch for parcel in parcels]
        self.changed.set()

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        self.rejections += rejections
        self.changed.set()

    def message(self, body: bytes = b"{}", key: str = "a.b", exchange: str | None = None) -> Message:
        return Message(str(uuid4()), Route(exchange or self.name, key, "a", "b"), "1", 1, 1, 0, {}, body)

    async def publish(self, *messages: Message) -> list[Stretch]:
        stretches = [Stretch() for _ in messages]
        async with asyncio.timeout(10):
            await self.publisher.publish(parcels(stretches, messages))
        return stretches

    async def was_rejected(self, *stretches: Stretch) -> None:
        async with asyncio.timeout(15):
            while not all(stretch in [each.parcel.stretch for each in self.rejections] for stretch in stretches):
                self.changed.clear()
                await self.changed.wait()

    async def has_settled(self, *stretches: Stretch) -> None:
        async with asyncio.timeout(15):
            while not all(stretch in self.settled for stretch in stretches):
                self.changed.clear()
                await self.changed.wait()

    async def was_nacked(self, count: int) -> None:
        """Wait until `count` messages were nacked since the last confirm: then only the first is sent again.

        Room that is made before may be taken by one that was sent behind it.
        """
        async with asyncio.timeout(15):
            while self._nacked() < count:
                await self.connection.call(self.channel.basic_qos)  # lets the loop run

    def _nacked(self) -> int:
        nacked = 0
        for each in self.seen:
            nacked = 0 if isinstance(each, Confirmed) else nacked + (each.count if isinstance(each, Nacked) else 0)
        return nacked

    async def queue(self, key: str = "#", arguments: dict[str, object] | None = None) -> str:
        queue = f"{self.name}.{uuid4()}"
        await self.connection.call(self.channel.queue_declare, queue, exclusive=True, arguments=arguments)
        await self.connection.call(self.channel.queue_bind, queue, self.name, key)
        return queue

    async def declare(self, exchange: str) -> None:
        """Declare `exchange`, whose messages reach the queues of the bench from its first moment on."""
        passed_on = {"alternate-exchange": self.name}
        await self.connection.call(self.channel.exchange_declare, exchange, "topic", durable=True, arguments=passed_on)

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
async def bench(
    isolated: Isolated, policy: Policy, amqp_url: str, fenced: Callable[[], bool], timings: Timings
) -> AsyncIterator[Bench]:
    connection = await Connection.open(isolated.amqp_url, name="test")
    channel = await connection.channel()
    await declare_exchange(connection, channel, isolated.name)
    seen: list[Observation] = []
    publisher = RabbitPublisher(
        lambda: Broker(amqp_url),
        replace(policy, exchange=isolated.name),
        seen.append,
        fenced=fenced,
        timings=timings,
    )
    made = Bench(isolated.name, connection, channel, publisher)
    made.seen = seen
    await publisher.connect()
    made.running = asyncio.create_task(publisher.run())
    try:
        yield made
    finally:
        made.running.cancel()
        await asyncio.gather(made.running, return_exceptions=True)
        await connection.close()


def parcels(stretches: Sequence[Stretch], messages: Sequence[Message]) -> list[Parcel]:
    return [Parcel(*pair) for pair in zip(stretches, [EVENT] * len(messages), messages, strict=True)]


def play(
    isolated: Isolated,
    scenario: Scenario,
    *,
    through: str | None = None,
    fenced: Callable[[], bool] = lambda: False,
    timings: Timings = TIMINGS,
    **changes: Any,  # noqa: ANN401 - fields of Policy
) -> None:
    """Run `scenario` with a publisher that reaches the broker directly, or `through` another URL."""

    async def run() -> None:
        async with bench(isolated, replace(POLICY, **changes), through or isolated.amqp_url, fenced, timings) as made:
            await scenario(made)

    asyncio.run(run())
