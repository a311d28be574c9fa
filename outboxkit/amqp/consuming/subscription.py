"""A subscription to a queue: deliveries in batches, each acknowledged on the channel that it came from.

It lives as long as its channel and is never opened again. When the channel is lost, the broker delivers unacknowledged
messages again, with tags of another channel. An ack that comes too late is dropped here: a delivery tag is valid only
on its channel (https://www.rabbitmq.com/docs/confirms#consumer-acks-delivery-tags).
"""

import asyncio
import itertools
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Self

from pika.channel import Channel

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.consuming.deliveries import Delivery, DeliveryFrames, acknowledgements
from outboxkit.amqp.errors import ChannelRefused
from outboxkit.errors import Problem

_generations = itertools.count(1)


class Subscription:
    """Deliveries of one queue; `await Subscription.open(connection, queue, prefetch=...)` returns it."""

    def __init__(self, connection: Connection, queue: str) -> None:
        self.connection = connection
        self._queue = queue
        self._generation = next(_generations)
        self._channel: Channel | None = None
        self._consumer_tag = ""
        self._arrived: deque[Delivery] = deque()
        self._last_tag = 0
        self._counted_from = 0
        """The last tag that was delivered before the prefetch was changed last."""
        self._acked: list[int] = []
        """The tags of deliveries that are acknowledged together, in one write, before the loop waits again."""
        self._news = asyncio.Event()
        self._lost: Problem | None = None
        self._cancelled = False
        self._changing = asyncio.Lock()
        """Taken while the consumer is ended and begun again: pika does not answer a cancel of one that has ended."""

    @classmethod
    async def open(cls, connection: Connection, queue: str, *, prefetch: int) -> Self:
        """Start consuming `queue`, with at most `prefetch` unacknowledged deliveries.

        Raises ChannelRefused when the queue is missing or forbidden, BrokerUnavailable when the connection is lost.
        """
        subscription = cls(connection, queue)
        channel = await connection.channel(subscription._on_lost)
        channel.add_on_cancel_callback(subscription._on_cancelled_by_broker)
        subscription._channel = channel
        await connection.call(channel.basic_qos, prefetch_count=prefetch)
        frames = DeliveryFrames(channel.channel_number, generation=subscription._generation)
        connection.divert(partial(subscription._on_read, frames))
        answer = await connection.call(channel.basic_consume, queue, subscription._on_message)
        subscription._consumer_tag = answer.consumer_tag
        return subscription

    @property
    def alive(self) -> bool:
        """Whether deliveries can still be acknowledged."""
        return self._lost is None and self._channel is not None and self._channel.is_open

    def owns(self, delivery: Delivery) -> bool:
        """Whether `delivery` came from this channel, and can still be acknowledged."""
        return self.alive and delivery.generation == self._generation

    def counts(self, delivery: Delivery) -> bool:
        """Whether `delivery`, while it is unacknowledged, is one of those that the prefetch allows."""
        return self.owns(delivery) and delivery.tag > self._counted_from

    async def receive(self, limit: int) -> list[Delivery]:
        """Wait for deliveries and return at most `limit`; return none when the subscription is cancelled.

        Raises the Problem that ended the channel.
        """
        while not self._arrived:
            if self._cancelled:
                return []
            if self._lost is not None:
                raise self._lost
            self._news.clear()
            await self._news.wait()
        return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge `delivery`; does nothing if its channel is lost."""
        if self.owns(delivery):
            if not self._acked:
                asyncio.get_running_loop().call_soon(self._send_acks)
            self._acked.append(delivery.tag)

    def nack(self, delivery: Delivery) -> None:
        """Give `delivery` back to the queue; does nothing if its channel is lost."""
        if self._channel is not None and self.owns(delivery):
            self._channel.basic_nack(delivery.tag, requeue=True)

    def reject(self, delivery: Delivery) -> None:
        """Dead-letter `delivery`; does nothing if its channel is lost."""
        if self._channel is not None and self.owns(delivery):
            self._channel.basic_reject(delivery.tag, requeue=False)

    async def set_prefetch(self, prefetch: int) -> None:
        """Let at most `prefetch` deliveries be unacknowledged from now on; those that are there stay.

        RabbitMQ reads the limit when a consumer begins, so this is another consumer on the same channel; what was
        delivered before does not count (https://www.rabbitmq.com/docs/consumer-prefetch). Raises the Problem that ended
        the channel.
        """
        async with self._changing:
            channel = self._channel
            if channel is None or not self.alive or self._cancelled:
                return
            tag, self._consumer_tag = self._consumer_tag, ""
            await self.connection.call(channel.basic_cancel, tag)
            self._counted_from = self._last_tag
            await self.connection.call(channel.basic_qos, prefetch_count=prefetch)
            if not self._cancelled:
                answer = await self.connection.call(channel.basic_consume, self._queue, self._on_message)
                self._consumer_tag = answer.consumer_tag

    async def cancel(self) -> None:
        """Stop deliveries and give back those that were not received; received ones can still be acknowledged."""
        self._cancelled = True
        async with self._changing:
            if self._channel is not None and self.alive and self._consumer_tag:
                try:
                    await self.connection.call(self._channel.basic_cancel, self._consumer_tag)
                except Problem as problem:
                    self._on_lost(problem)
        while self._arrived:
            self.nack(self._arrived.popleft())
        self._news.set()

    async def close(self) -> None:
        """Send what is acknowledged, and close the connection; what is not acknowledged goes back to the queue."""
        self._send_acks()
        await self.connection.close()

    def _on_read(self, frames: DeliveryFrames, read: bytes) -> tuple[bytes, int]:
        deliveries, others, taken = frames.take(read)
        if deliveries and self._lost is None:
            self._arrived += deliveries
            self._last_tag = deliveries[-1].tag
            self._news.set()
        return others, taken

    def _on_message(self, *_: object) -> None:
        raise AssertionError("deliveries are taken before pika sees them")

    def _send_acks(self) -> None:
        tags, self._acked = self._acked, []
        if tags and self._channel is not None and self.alive:
            with suppress(Problem):  # it has just been closed: RabbitMQ delivers them again
                self.connection.write(acknowledgements(self._channel.channel_number, tags))

    def _on_cancelled_by_broker(self, _: object) -> None:
        # https://www.rabbitmq.com/docs/consumer-cancel: the queue was deleted, or its node went away.
        self._on_lost(
            ChannelRefused(
                f"RabbitMQ at {self.connection.broker} ended the subscription to {self._queue}",
                remedy="the queue was deleted, or its node went down; the next attempt declares it again",
            )
        )

    def _on_lost(self, problem: Problem) -> None:
        if self._lost is None:
            self._lost = problem
            self._arrived.clear()
            self._news.set()
