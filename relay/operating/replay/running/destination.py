"""Asks RabbitMQ whether what a replay is to be published to exists: else every event of it would be parked."""

from functools import partial

from outboxkit.amqp.answers.answer import ACCEPTED, NO_ANSWER, NOT_FOUND
from outboxkit.amqp.asking import Channel, tried
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import check_exchange
from outboxkit.errors import Problem
from relay.core.replay import Destination
from relay.settings import RelaySettings


async def require(settings: RelaySettings, destination: Destination) -> None:
    """Raise a Problem if the exchange or the queue of `destination` does not exist, or cannot be asked for."""
    connection = await Connection.open(
        settings.amqp_url.get_secret_value(), name=f"{settings.name} replay", tls=settings.tls()
    )

    async def queue(channel: Channel) -> None:
        await connection.call(channel.queue_declare, destination.queue, passive=True)

    exchange = destination.exchange or settings.exchange
    try:
        if destination.queue is not None:
            what, answer = f"queue {destination.queue!r}", await tried(connection, queue)
        else:
            ask = partial(check_exchange, connection, exchange=exchange)
            what, answer = f"exchange {exchange!r}", await tried(connection, ask)
    finally:
        await connection.close()
    match answer.code:
        case code if code == ACCEPTED:
            return
        case code if code == NO_ANSWER:
            raise Problem(
                f"RabbitMQ has not said whether {what} exists", remedy="look for an alarm in RabbitMQ, then try again"
            )
        case code if code == NOT_FOUND:
            raise Problem(
                f"{what} does not exist on {connection.broker}; nothing was published",
                remedy="correct the name, or declare it first",
            )
        case _:
            raise Problem(f"RabbitMQ refuses {what}: {answer.text}", remedy="give its user the right to it")
