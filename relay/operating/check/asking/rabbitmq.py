"""Gathers facts from RabbitMQ. It declares only what exists already, and no queue gets its test messages."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

from outboxkit.amqp import asking
from outboxkit.amqp.answers.answer import ACCEPTED, ACCESS_REFUSED, NOT_RETURNED, Answer
from outboxkit.amqp.asking import Channel, answered, queue, tried
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.errors import ChannelRefused
from outboxkit.amqp.tls import is_loopback
from outboxkit.amqp.topology import check_exchange, declare_exchange
from outboxkit.amqp.url import nodes
from outboxkit.checks.finding import Unknown
from relay.operating.check.judging.rabbitmq.broker import Broker
from relay.operating.check.judging.rabbitmq.queues import Queue
from relay.settings import RelaySettings

_ROUTING_KEY = "relay.check"


async def ask(settings: RelaySettings, queues: Sequence[str]) -> tuple[Broker, list[Queue]] | Unknown:
    """Ask RabbitMQ for all facts. An error of the broker makes them unknown and is not raised."""

    async def asked(connection: Connection) -> tuple[Broker, list[Queue]]:
        broker = await _broker(connection, settings)
        return broker, [await _queue(connection, name) for name in queues]

    url = settings.amqp_url.get_secret_value()
    return await answered(url, asked, name=f"{settings.name} check", tls=settings.tls())


async def _broker(connection: Connection, settings: RelaySettings) -> Broker:
    exchange, url = settings.exchange, settings.amqp_url.get_secret_value()
    properties = await _properties(connection)
    named = nodes(url)
    remote = [node.host for node in named if not is_loopback(node.host)]

    async def there(channel: Channel) -> None:
        await check_exchange(connection, channel, exchange)

    async def declared(channel: Channel) -> None:
        await declare_exchange(connection, channel, exchange)

    async def rolled_back(channel: Channel) -> None:
        await connection.call(channel.tx_select)
        channel.basic_publish(exchange, _ROUTING_KEY, b"", mandatory=True)
        await connection.call(channel.tx_rollback)

    found = await tried(connection, there)
    return Broker(
        product=str(properties.get("product", "an AMQP broker")),
        version=str(properties.get("version", "")),
        nodes=await asking.nodes(url, name=f"{settings.name} check", tls=settings.tls()),
        capabilities=[name for name, has in properties.get("capabilities", {}).items() if has],
        encrypted=all(node.tls for node in named),
        remote=", ".join(remote) or None,
        exchange_name=exchange,
        exchange=found,
        declared=await tried(connection, declared) if found.code == ACCEPTED else found,
        published=await tried(connection, rolled_back) if found.code in {ACCEPTED, ACCESS_REFUSED} else found,
        returned=await tried(connection, lambda channel: _returned(connection, channel)),
        max_message_bytes=settings.max_message_bytes,
        blocked=connection.blocked,
    )


async def _returned(connection: Connection, channel: Channel) -> Answer:
    """Publish to a queue that does not exist; NOT_RETURNED if that is confirmed without being returned first."""
    confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    returned = asyncio.Event()

    def on_return(*_: object) -> None:
        returned.set()

    def on_answer(_: object) -> None:
        if not confirmed.done():
            confirmed.set_result(None)

    def on_close(*_: object) -> None:
        if not confirmed.done():
            confirmed.set_exception(ChannelRefused("the channel was closed", remedy="see RabbitMQ's log"))

    channel.add_on_return_callback(on_return)
    channel.add_on_close_callback(on_close)
    await connection.call(channel.confirm_delivery, on_answer)
    channel.basic_publish("", f"{_ROUTING_KEY}.{secrets.token_hex(16)}", b"", mandatory=True)
    await confirmed
    return Answer(ACCEPTED if returned.is_set() else NOT_RETURNED)


async def _queue(connection: Connection, name: str) -> Queue:
    found = await queue(connection, name)
    return Queue(name, found.answer, found.arguments, found.why_unknown)


async def _properties(connection: Connection) -> dict[str, Any]:
    channel = await connection.channel()
    properties: dict[str, Any] = getattr(channel.connection, "server_properties", None) or {}
    channel.close()
    return properties
