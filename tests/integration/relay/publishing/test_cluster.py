"""The publisher with several hosts: the one that it uses is stopped, and the next one takes its place."""

import asyncio

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import declare_exchange
from relay.core.observations import BrokerConnected, BrokerLost
from sandbox.lifetime import private
from sandbox.lifetime.isolation import Isolated
from sandbox.servers.backend import Extra
from tests.integration.relay.publishing.publisher_stage import Bench, play


async def _prepare(url: str, exchange: str) -> None:
    """Declare the exchange, and bind a queue that takes everything."""
    connection = await Connection.open(url, name="test")
    channel = await connection.channel()
    await declare_exchange(connection, channel, exchange)
    await connection.call(channel.queue_declare, "all", durable=True)
    await connection.call(channel.queue_bind, "all", exchange, "#")
    await connection.close()


def test_a_relay_goes_on_at_the_next_host_when_its_own_is_stopped(isolated: Isolated) -> None:
    with private.rabbitmq(Extra()) as first:
        asyncio.run(_prepare(first.url, isolated.name))

        async def scenario(it: Bench) -> None:
            queue = await it.queue()
            await it.has_settled(*await it.publish(it.message()))
            assert await it.ready(queue) == 0  # it went to the first host

            await asyncio.to_thread(first.stop)
            await it.has_settled(*await it.publish(it.message()))
            assert await it.ready(queue) == 1
            connected = [seen.broker for seen in it.seen if isinstance(seen, BrokerConnected)]
            assert len(connected) == 2
            assert len([seen for seen in it.seen if isinstance(seen, BrokerLost)]) == 1  # not one for each host

        play(isolated, scenario, through=f"{first.url},{isolated.amqp_url}")
