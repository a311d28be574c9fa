"""The queues that a benchmark publishes into: declares, empties and deletes them."""

import asyncio
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any

from outboxkit.amqp.connection import Connection
from outboxkit.errors import Problem


class Kind(StrEnum):
    """A kind of queue, by RabbitMQ's name (https://www.rabbitmq.com/docs/queues#optional-arguments, x-queue-type)."""

    CLASSIC = "classic"
    QUORUM = "quorum"
    STREAM = "stream"


_PREFETCH = 2000
_ACK_EVERY = 500
# How long to wait for duplicates once every event has arrived.
_DUPLICATE_SECONDS = 0.5


async def declare(amqp_url: str, queue: str, kind: Kind, *, exchange: str) -> None:
    """Declare a durable queue of `kind`, and bind it to every routing key of `exchange`."""
    connection = await Connection.open(amqp_url, name="bench")
    channel = await connection.channel()
    await connection.call(channel.queue_declare, queue, durable=True, arguments={"x-queue-type": kind.value})
    await connection.call(channel.queue_bind, queue, exchange, "#")
    await connection.close()


async def bind(amqp_url: str, queue: str, *, exchange: str) -> None:
    """Bind a queue to every routing key of `exchange`."""
    connection = await Connection.open(amqp_url, name="bench")
    await connection.call((await connection.channel()).queue_bind, queue, exchange, "#")
    await connection.close()


async def unbind(amqp_url: str, queue: str, *, exchange: str) -> None:
    """Take back what `declare` and `bind` have bound."""
    connection = await Connection.open(amqp_url, name="bench")
    await connection.call((await connection.channel()).queue_unbind, queue, exchange, "#")
    await connection.close()


async def delete(amqp_url: str, queue: str) -> None:
    """Delete a queue and its messages."""
    connection = await Connection.open(amqp_url, name="bench")
    await connection.call((await connection.channel()).queue_delete, queue)
    await connection.close()


async def collect(amqp_url: str, queue: str, kind: Kind, *, expected: int, idle_seconds: float = 20.0) -> list[str]:
    """Consume a queue until `expected` distinct message ids have arrived, and the duplicates right behind them.

    Returns the ids in the order of arrival, with duplicates; fewer when nothing arrives for `idle_seconds`.
    """
    (arrived,) = await collect_each(amqp_url, [queue], kind, expected=expected, idle_seconds=idle_seconds)
    return arrived


async def collect_each(
    amqp_url: str, queues: Sequence[str], kind: Kind, *, expected: int, idle_seconds: float = 20.0
) -> list[list[str]]:
    """Do the same with several queues, in which `expected` distinct ids arrive together; return those of each."""
    connection = await Connection.open(amqp_url, name="bench")
    try:
        return await _collect(connection, queues, kind, expected, idle_seconds)
    finally:
        await connection.close()


async def _collect(
    connection: Connection, queues: Sequence[str], kind: Kind, expected: int, idle_seconds: float
) -> list[list[str]]:
    lost: asyncio.Future[Problem] = asyncio.get_running_loop().create_future()
    channel = await connection.channel(lost.set_result)
    arrived: list[list[str]] = [[] for _ in queues]
    distinct: set[str] = set()
    arrival = asyncio.Event()

    def on_message(of_queue: list[str], _: object, method: Any, properties: Any, __: bytes) -> None:  # noqa: ANN401
        of_queue.append(properties.message_id)
        distinct.add(properties.message_id)
        if method.delivery_tag % _ACK_EVERY == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)
        arrival.set()

    await connection.call(channel.basic_qos, prefetch_count=_PREFETCH)
    for queue, of_queue in zip(queues, arrived, strict=True):
        act = partial(on_message, of_queue)
        await connection.call(channel.basic_consume, queue, act, arguments=_from_the_start(kind))
    while not lost.done():
        arrival.clear()
        try:
            async with asyncio.timeout(_DUPLICATE_SECONDS if len(distinct) >= expected else idle_seconds):
                await arrival.wait()
        except TimeoutError:
            return arrived
    raise lost.result()


def _from_the_start(kind: Kind) -> Mapping[str, object]:
    return {"x-stream-offset": "first"} if kind is Kind.STREAM else {}
