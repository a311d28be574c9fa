"""A queue bound to everything on an exchange: what was really published, seen by somebody who is not the relay."""

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.subscription import Subscription

_BATCH = 1000


async def bind(amqp_url: str, *, queue: str, exchange: str) -> None:
    """Declare `queue` and bind it to every routing key of `exchange`."""
    connection = await Connection.open(amqp_url, name="tap")
    channel = await connection.channel()
    await connection.call(channel.queue_declare, queue, durable=True)
    await connection.call(channel.queue_bind, queue, exchange, "#")
    await connection.close()


async def drain(amqp_url: str, *, queue: str) -> list[str]:
    """Take out what the queue holds; return the message ids in the order of publishing, each as often as it came."""
    connection = await Connection.open(amqp_url, name="tap")
    channel = await connection.channel()
    waiting = (await connection.call(channel.queue_declare, queue, passive=True)).message_count
    subscription = await Subscription.open(connection, queue, prefetch=_BATCH)
    ids: list[str] = []
    while len(ids) < waiting:
        for delivery in await subscription.receive(_BATCH):
            ids.append(str(delivery.message_id))
            subscription.ack(delivery)
    await connection.close()
    return ids
