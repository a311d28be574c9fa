"""The tap: a queue bound to everything on an exchange. It shows what was published, independent of the relay."""

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.consuming.deliveries import Delivery
from outboxkit.amqp.consuming.subscription import Subscription
from outboxkit.amqp.format import NAMES

_BATCH = 1000


async def bind(amqp_url: str, *, queue: str, exchange: str) -> None:
    """Declare `queue` and bind it to every routing key of `exchange`."""
    connection = await Connection.open(amqp_url, name="tap")
    channel = await connection.channel()
    await connection.call(channel.queue_declare, queue, durable=True)
    await connection.call(channel.queue_bind, queue, exchange, "#")
    await connection.close()


async def drain(amqp_url: str, *, queue: str) -> list[str]:
    """Empty the queue; return the message ids in the order of publishing, with their repetitions."""
    return [str(delivery.message_id) for delivery in await _deliveries(amqp_url, queue)]


async def versions(amqp_url: str, *, queue: str) -> list[tuple[str, int]]:
    """Empty the queue; return aggregates' ids and versions in the order of publishing, with their repetitions."""
    headers = [delivery.headers or {} for delivery in await _deliveries(amqp_url, queue)]
    return [(str(each[NAMES.aggregate_id]), int(str(each[NAMES.aggregate_version]))) for each in headers]


async def _deliveries(amqp_url: str, queue: str) -> list[Delivery]:
    connection = await Connection.open(amqp_url, name="tap")
    channel = await connection.channel()
    waiting = (await connection.call(channel.queue_declare, queue, passive=True)).message_count
    subscription = await Subscription.open(connection, queue, prefetch=_BATCH)
    found: list[Delivery] = []
    while len(found) < waiting:
        for delivery in await subscription.receive(_BATCH):
            found.append(delivery)
            subscription.ack(delivery)
    await subscription.close()
    return found


async def remove(amqp_url: str, *, queue: str) -> None:
    """Delete the queue; nothing happens if there is none."""
    connection = await Connection.open(amqp_url, name="tap")
    channel = await connection.channel()
    await connection.call(channel.queue_delete, queue)
    await connection.close()
