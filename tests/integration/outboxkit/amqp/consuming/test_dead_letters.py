"""Dead letters on a real RabbitMQ: taken, put back, moved with a confirm before the ack."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pika
import pytest
from pika.channel import Channel

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.consuming.dead_letters import DeadLetters, Letter
from outboxkit.amqp.errors import BrokerRefused, ChannelRefused
from sandbox import Isolated
from tests.support.rabbitmq import version

QUORUM = {"x-queue-type": "quorum"}
HEADERS: dict[str, Any] = {
    "aggregate_type": "task",
    "x-death": [],
    "x-first-death-queue": "tasks",
    "x-delivery-count": 3,
    "own": 7,
}
SENT = pika.BasicProperties(
    message_id="m", headers=HEADERS, type="pending", content_type="application/json", timestamp=1_700_000_000,
    app_id="relay", correlation_id="c", delivery_mode=2,
)  # fmt: skip


class Bench:
    """A dead-letter queue, and a channel of the test's own."""

    def __init__(self, isolated: Isolated, connection: Connection, channel: Channel) -> None:
        self.queue = f"{isolated.name}.dead"
        self.back = f"{isolated.name}.back"
        self._url = isolated.amqp_url
        self._connection = connection
        self._channel = channel

    @asynccontextmanager
    async def letters(self) -> AsyncIterator[DeadLetters]:
        connection = await Connection.open(self._url, name="dead letters")
        try:
            yield await DeadLetters.open(connection, self.queue)
        finally:
            await connection.close()

    async def declare(self, queue: str) -> None:
        await self._connection.call(self._channel.queue_declare, queue, durable=True, arguments=QUORUM)

    async def publish(self, count: int, *, there: int = 0) -> None:
        """Publish until there are `count` messages; `there` are already."""
        for number in range(there, count):
            self._channel.basic_publish("", self.queue, str(number).encode(), SENT)
        await self.holds(self.queue, count)

    async def holds(self, queue: str, count: int) -> None:
        """Wait until so many messages are ready there."""
        async with asyncio.timeout(20):
            while await self._ready(queue) != count:  # each look is a round trip
                pass

    async def put_back(self, times: int) -> None:
        """Reject the first message so often."""
        for _ in range(times):
            taken: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._channel.basic_get(self.queue, partial(_tag, taken))
            self._channel.basic_reject(await taken, requeue=True)
            await self._ready(self.queue)  # a round trip: it is back

    async def _ready(self, queue: str) -> int:
        return int((await self._connection.call(self._channel.queue_declare, queue, passive=True)).message_count)


def _tag(taken: "asyncio.Future[int]", _: Channel, method: Any, *__: object) -> None:  # noqa: ANN401 - pika's
    taken.set_result(int(method.delivery_tag))


def play(isolated: Isolated, scenario: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        connection = await Connection.open(isolated.amqp_url, name="test")
        bench = Bench(isolated, connection, await connection.channel())
        try:
            await bench.declare(bench.queue)
            async with asyncio.timeout(60):
                await scenario(bench)
        finally:
            await connection.close()

    asyncio.run(run())


async def everything(letters: DeadLetters) -> list[Letter]:
    found = []
    while (letter := await letters.take()) is not None:
        found.append(letter)
    return found


def test_what_was_taken_goes_back_into_its_place(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.publish(5)
        for _ in range(2):
            async with bench.letters() as letters:
                first = await letters.take()
                assert (first is not None, letters.left) == (True, 4)
                assert [letter.body for letter in await everything(letters)] == [b"1", b"2", b"3", b"4"]
            await bench.holds(bench.queue, 5)

    play(isolated, scenario)


def test_a_moved_message_is_the_one_that_it_was_without_the_brokers_own_headers(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.publish(3)
        await bench.declare(bench.back)
        async with bench.letters() as letters:
            await letters.move(await everything(letters), bench.back)
        await bench.holds(bench.queue, 0)
        bench.queue = bench.back
        async with bench.letters() as letters:
            found = await everything(letters)
            assert [letter.body for letter in found] == [b"0", b"1", b"2"]
            kept = found[0].properties
            # RabbitMQ counts anew; from 4.0 on, it leaves out a count of 0.
            assert {"x-delivery-count": 0, **(kept.headers or {})} == {
                "aggregate_type": "task",
                "own": 7,
                "x-delivery-count": 0,
            }
            for name in (
                "message_id",
                "type",
                "content_type",
                "timestamp",
                "app_id",
                "correlation_id",
                "delivery_mode",
            ):
                assert getattr(kept, name) == getattr(SENT, name), name

    play(isolated, scenario)


def test_a_message_that_no_queue_takes_stays(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.publish(3)
        async with bench.letters() as letters:
            with pytest.raises(BrokerRefused, match="did not take 3 messages"):
                await letters.move(await everything(letters), "nowhere")
        await bench.holds(bench.queue, 3)

    play(isolated, scenario)


def test_a_dropped_message_is_gone_and_the_others_are_not(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.publish(3)
        async with bench.letters() as letters:
            taken = await everything(letters)
            letters.drop(taken[1])
        await bench.holds(bench.queue, 2)

    play(isolated, scenario)


def test_a_queue_that_is_not_there_is_refused_and_an_empty_one_has_nothing(isolated: Isolated) -> None:
    async def scenario(bench: Bench) -> None:
        async with bench.letters() as letters:
            assert await letters.take() is None
        bench.queue = "nowhere"
        async with bench.letters() as letters:
            for _ in range(2):
                with pytest.raises(ChannelRefused, match="404"):
                    await letters.take()

    play(isolated, scenario)


def test_what_was_put_back_often_is_renewed_once_where_rabbitmq_would_drop_it(isolated: Isolated) -> None:
    """Up to 3.13 nothing is dropped, so nothing is renewed."""

    async def look(bench: Bench) -> list[Letter]:
        await bench.holds(bench.queue, 3)
        found = []
        async with bench.letters() as letters:
            while (letter := await letters.take()) is not None:
                found.append(letter)
                await letters.renew()
            assert letters.left == 0
        await bench.holds(bench.queue, 3)
        return found

    async def scenario(bench: Bench) -> None:
        await bench.publish(1)
        await bench.put_back(16)
        await bench.publish(3, there=1)
        first = {letter.body: letter.deliveries for letter in await look(bench)}
        assert (len(first), first[b"0"]) == (3, 16)
        bodies = [*first]
        if version(isolated.amqp_url) >= (4, 0):
            bodies = [b"1", b"2", b"0"]
        for _ in range(2):
            assert [letter.body for letter in await look(bench)] == bodies

    play(isolated, scenario)
