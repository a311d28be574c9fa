"""A subscription on a real RabbitMQ: batches, prefetch, and tags that die with their channel."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pika
import pytest
from pika.channel import Channel

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.consuming.deliveries import Delivery
from outboxkit.amqp.consuming.subscription import Subscription
from outboxkit.amqp.errors import ChannelRefused
from outboxkit.amqp.topology import dead_letter_queue, declare_exchange, declare_queue
from outboxkit.errors import Problem
from sandbox import Isolated


class Bench:
    """A queue with a channel of the test's own, and subscriptions to it."""

    def __init__(self, isolated: Isolated, connection: Connection, channel: Channel, stack: AsyncExitStack) -> None:
        self.queue = isolated.name
        self.connection = connection
        self.channel = channel
        self._url = isolated.amqp_url
        self._stack = stack

    async def subscribe(self, *, prefetch: int = 100) -> Subscription:
        connection = await Connection.open(self._url, name="test")
        self._stack.push_async_callback(connection.close)
        return await Subscription.open(connection, self.queue, prefetch=prefetch)

    async def publish(self, count: int) -> None:
        confirmed = asyncio.get_running_loop().create_future()
        channel = await self.connection.channel()
        left = set(range(1, count + 1))

        def on_confirm(frame: Any) -> None:  # noqa: ANN401 - pika's replies
            tag = frame.method.delivery_tag
            left.difference_update(range(1, tag + 1) if frame.method.multiple else [tag])
            if not left and not confirmed.done():
                confirmed.set_result(None)

        await self.connection.call(channel.confirm_delivery, on_confirm)
        for number in range(count):
            properties = pika.BasicProperties(message_id=f"m{number}", headers={"number": number}, delivery_mode=2)
            channel.basic_publish(self.queue, "a.b", str(number).encode(), properties)
        await confirmed

    async def ready(self, queue: str) -> int:
        return int((await self.connection.call(self.channel.queue_declare, queue, passive=True)).message_count)


async def receive(subscription: Subscription, count: int) -> list[Delivery]:
    deliveries: list[Delivery] = []
    while len(deliveries) < count:
        deliveries += await subscription.receive(count - len(deliveries))
    return deliveries


def play(isolated: Isolated, scenario: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack, asyncio.timeout(30):
            connection = await Connection.open(isolated.amqp_url, name="test")
            stack.push_async_callback(connection.close)
            channel = await connection.channel()
            await declare_exchange(connection, channel, isolated.name)
            await declare_queue(connection, channel, isolated.name, exchange=isolated.name, binding_key="#")
            await scenario(Bench(isolated, connection, channel, stack))

    asyncio.run(run())


def test_deliveries_come_in_order_and_at_most_as_many_as_asked_for(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        subscription = await bench.subscribe()
        await bench.publish(50)
        deliveries: list[Delivery] = []
        while len(deliveries) < 50:
            batch = await subscription.receive(7)
            assert 1 <= len(batch) <= 7
            deliveries += batch
        assert [delivery.body for delivery in deliveries] == [str(number).encode() for number in range(50)]
        first = deliveries[0]
        assert (first.message_id, first.headers, first.routing_key) == ("m0", {"number": 0}, "a.b")
        assert not first.redelivered

    play(isolated, scenario)


def test_no_more_than_the_prefetch_is_unacknowledged(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        subscription = await bench.subscribe(prefetch=3)
        await bench.publish(5)
        deliveries = await receive(subscription, 3)
        more = asyncio.create_task(subscription.receive(10))
        assert await bench.ready(bench.queue) == 2
        assert not more.done()
        subscription.ack(deliveries[1])
        (fourth,) = await more
        assert fourth.message_id == "m3"

    play(isolated, scenario)


def test_the_prefetch_can_be_changed_and_what_was_delivered_before_stays(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        subscription = await bench.subscribe(prefetch=2)
        await bench.publish(10)
        first = await receive(subscription, 2)
        await subscription.set_prefetch(5)
        more = await receive(subscription, 5)
        assert await bench.ready(bench.queue) == 3
        assert [each.message_id for each in first + more] == [f"m{number}" for number in range(7)]
        await subscription.set_prefetch(1)
        for each in first + more:
            subscription.ack(each)
        (eighth,) = await receive(subscription, 1)
        assert eighth.message_id == "m7"
        assert await bench.ready(bench.queue) == 2, "it may have one"
        await subscription.cancel()
        subscription.ack(eighth)
        await subscription.close()
        assert await bench.ready(bench.queue) == 2

    play(isolated, scenario)


def test_what_is_acknowledged_in_one_turn_is_sent_before_the_connection_closes(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        subscription = await bench.subscribe(prefetch=200)
        await bench.publish(200)
        for each in await receive(subscription, 200):
            subscription.ack(each)
        await subscription.close()
        assert await bench.ready(bench.queue) == 0

    play(isolated, scenario)


def test_a_delivery_is_acked_given_back_or_dead_lettered(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        subscription = await bench.subscribe()
        await bench.publish(3)
        done, again, poison = await receive(subscription, 3)
        subscription.ack(done)
        subscription.nack(again)
        subscription.reject(poison)
        (back,) = await subscription.receive(10)
        assert (back.message_id, back.redelivered) == ("m1", True)
        subscription.ack(back)
        await subscription.close()
        dead = await Subscription.open(bench.connection, dead_letter_queue(bench.queue), prefetch=10)
        (letter,) = await dead.receive(10)
        assert letter.message_id == "m2"
        assert await bench.ready(bench.queue) == 0

    play(isolated, scenario)


def test_a_tag_of_a_lost_channel_is_never_acknowledged_on_the_next(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.subscribe()
        await bench.publish(3)
        old = await receive(first, 3)
        await first.close()
        with pytest.raises(Problem):
            await first.receive(1)
        second = await bench.subscribe()
        new = await receive(second, 3)
        assert [delivery.tag for delivery in new] == [delivery.tag for delivery in old]
        for subscription in (first, second):
            subscription.ack(old[0])
            subscription.nack(old[1])
            subscription.reject(old[2])
        second.ack(new[2])  # all that reached the broker did so before this
        await second.close()
        third = await bench.subscribe()
        assert {delivery.message_id for delivery in await receive(third, 2)} == {"m0", "m1"}
        assert await bench.ready(dead_letter_queue(bench.queue)) == 0

    play(isolated, scenario)


def test_cancelling_gives_back_what_was_not_received_and_the_rest_can_still_be_acknowledged(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        subscription = await bench.subscribe()
        await bench.publish(10)
        received = await receive(subscription, 4)
        await subscription.cancel()
        assert await subscription.receive(10) == []
        for delivery in received:
            subscription.ack(delivery)
        await subscription.close()
        other = await bench.subscribe()
        assert sorted(each.message_id or "" for each in await receive(other, 6)) == [f"m{n}" for n in range(4, 10)]

    play(isolated, scenario)


def test_cancelling_ends_a_wait(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        subscription = await bench.subscribe()
        waiting = asyncio.create_task(subscription.receive(1))
        await subscription.cancel()
        assert await waiting == []

    play(isolated, scenario)


def test_a_deleted_queue_ends_the_subscription_with_a_remedy(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        subscription = await bench.subscribe()
        waiting = asyncio.create_task(subscription.receive(1))
        await bench.connection.call(bench.channel.queue_delete, bench.queue)
        with pytest.raises(ChannelRefused, match=f"ended the subscription to {bench.queue}"):
            await waiting
        assert not subscription.alive

    play(isolated, scenario)


def test_a_queue_that_does_not_exist_is_refused(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        with pytest.raises(ChannelRefused, match="answered 404"):
            await Subscription.open(bench.connection, f"{bench.queue}.none", prefetch=1)

    play(isolated, scenario)
