"""The exchange and queues that relay and consumers share.

Declaring them again does nothing if the properties are the same; otherwise RabbitMQ answers 406
(https://www.rabbitmq.com/docs/queues#property-equivalence).
"""

from collections.abc import Iterable

from pika.channel import Channel

from outboxkit.amqp.connection import Connection

EXCHANGE_TYPE = "topic"
# A poison message is dead-lettered after this many deliveries. It is the default of RabbitMQ 4; older ones have none.
DELIVERY_LIMIT = 20


def dead_letter_queue(queue: str) -> str:
    """Return the name of the queue for messages that are dead-lettered from `queue`."""
    return f"{queue}.dead"


def arguments(queue: str | None = None, *, single_active: bool = False) -> dict[str, str | int | bool]:
    """Return the arguments of `queue`; without one, those of a dead-letter queue."""
    if queue is None:
        return {"x-queue-type": "quorum"}
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead_letter_queue(queue),
        **({"x-single-active-consumer": True} if single_active else {}),
    }


async def declare_exchange(connection: Connection, channel: Channel, exchange: str) -> None:
    """Declare the durable topic exchange that the relay publishes to."""
    await connection.call(channel.exchange_declare, exchange, exchange_type=EXCHANGE_TYPE, durable=True)


async def check_exchange(connection: Connection, channel: Channel, exchange: str) -> None:
    """Raise ChannelRefused (404) if `exchange` does not exist; RabbitMQ closes the channel then.

    RabbitMQ 4.2.6 and 4.3.0 ask for the configure permission (403), later ones for any right on the exchange.
    """
    await connection.call(channel.exchange_declare, exchange, passive=True)


async def declare_queue(  # noqa: PLR0913 - what a queue is
    connection: Connection,
    channel: Channel,
    queue: str,
    *,
    exchange: str,
    binding_key: str,
    more_keys: Iterable[str] = (),
    single_active: bool = False,
) -> None:
    """Declare a queue as `declare_unbound` does, and bind it; what was bound before stays bound."""
    await declare_unbound(connection, channel, queue, single_active=single_active)
    for key in (binding_key, *more_keys):
        await connection.call(channel.queue_bind, queue, exchange, key)


async def declare_unbound(connection: Connection, channel: Channel, queue: str, *, single_active: bool = False) -> None:
    """Declare a quorum queue with its dead-letter queue.

    With `single_active`, one consumer at a time gets its messages (https://www.rabbitmq.com/docs/consumers).

    Dead letters go through the default exchange to the queue's own dead-letter queue
    (https://www.rabbitmq.com/docs/dlx), after at most `DELIVERY_LIMIT` deliveries
    (https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling).
    """
    dead = dead_letter_queue(queue)
    await connection.call(channel.queue_declare, dead, durable=True, arguments=arguments())
    await connection.call(
        channel.queue_declare, queue, durable=True, arguments=arguments(queue, single_active=single_active)
    )
