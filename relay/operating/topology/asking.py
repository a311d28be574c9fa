"""Asks RabbitMQ about a topology. It declares only what exists already, which changes nothing."""

from outboxkit.amqp.answers.answer import ACCEPTED
from outboxkit.amqp.asking import Channel, answered, queue, tried
from outboxkit.amqp.connection import Connection
from outboxkit.checks.finding import Unknown
from relay.operating.topology.declaring import declare_exchange
from relay.operating.topology.judging import Found
from relay.operating.topology.topology import Topology
from relay.settings import RelaySettings


async def ask(settings: RelaySettings, topology: Topology) -> Found | Unknown:
    """Ask for all of it. An error of the broker makes it unknown and is not raised."""

    async def asked(connection: Connection) -> Found:
        return await _asked(connection, settings, topology)

    url = settings.amqp_url.get_secret_value()
    return await answered(url, asked, name=f"{settings.name} check", tls=settings.tls())


async def _asked(connection: Connection, settings: RelaySettings, topology: Topology) -> Found:
    async def there(channel: Channel) -> None:
        await connection.call(channel.exchange_declare, topology.exchange, passive=True)

    async def declared(channel: Channel) -> None:
        await declare_exchange(connection, channel, topology)

    queues = {name: await queue(connection, name) for name, _ in topology.declared}
    exchange = await tried(connection, there)
    as_setup = await tried(connection, declared) if exchange.code == ACCEPTED else exchange
    return Found(topology, settings.spread, exchange, as_setup, queues)
