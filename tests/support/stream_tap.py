"""A tap that is a stream (https://www.rabbitmq.com/docs/streams): reading takes nothing out of it.

RabbitMQ counts a stream's messages from time to time only. So a tap publishes a mark behind them, and reads up to it.
"""

import asyncio
import secrets

import pika
from pika.channel import Channel
from pika.spec import Basic

from outboxkit.amqp.connection import Connection
from outboxkit.errors import Problem
from tests.support.oracles import Delivery
from tests.support.tap import Tap, delivery

_MARK = "mark "
_PREFETCH = 500
_ACKNOWLEDGED_TOGETHER = 100
_SECONDS = 120.0
"""In which a backlog is read."""


class StreamTap(Tap):
    """The stream `queue`, bound to `exchange`, and how far it was read."""

    def __init__(self, amqp_url: str, *, queue: str, exchange: str) -> None:
        super().__init__(amqp_url, queue=queue, exchange=exchange, kind="stream")
        self._url = amqp_url
        self._next = 0
        """The offset behind what was read."""
        self._arrived: list[Delivery] = []
        """What was read and not drained."""

    def waiting(self) -> int:
        """Return how many messages came since it was drained last."""
        self._read()
        return len(self._arrived)

    def drain(self) -> list[Delivery]:
        """Return these messages, in order."""
        self._read()
        arrived, self._arrived = self._arrived, []
        return arrived

    def _read(self) -> None:
        """Read what is in the stream now."""
        mark = f"{_MARK}{secrets.token_hex(8)}"
        with self.channel() as channel:
            channel.confirm_delivery()
            channel.basic_publish("", self.queue, b"", pika.BasicProperties(message_id=mark, delivery_mode=2))
        asyncio.run(self._read_up_to(mark))

    async def _read_up_to(self, mark: str) -> None:
        """Read up to the message `mark`, and leave what comes behind it for the next time.

        A stream takes nothing back: RabbitMQ 3.10 closes the connection of a consumer that rejects a message. pika's
        BlockingConnection rejects those that it has not handed over when it closes, and AsyncioConnection does not.
        """
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def lost(problem: Problem) -> None:
            if not reached.done():
                reached.set_exception(problem)

        def arrived(channel: Channel, method: Basic.Deliver, properties: pika.BasicProperties, _: bytes) -> None:
            if reached.done():
                return
            self._take(properties)
            if (tag := method.delivery_tag or 0) % _ACKNOWLEDGED_TOGETHER == 0:
                channel.basic_ack(tag, multiple=True)
            if properties.message_id == mark:
                reached.set_result(None)

        connection = await Connection.open(self._url, name="tap")
        try:
            channel = await connection.channel(lost)
            await connection.call(channel.basic_qos, prefetch_count=_PREFETCH)
            begin = {"x-stream-offset": self._next}
            await connection.call(channel.basic_consume, self.queue, arrived, arguments=begin)
            async with asyncio.timeout(_SECONDS):
                await reached
        finally:
            await connection.close()

    def _take(self, properties: pika.BasicProperties) -> None:
        offset = int(str((properties.headers or {})["x-stream-offset"]))
        if offset < self._next:  # RabbitMQ begins with the chunk that the offset is in
            return
        self._next = offset + 1
        if not str(properties.message_id).startswith(_MARK):
            self._arrived.append(delivery(properties))
