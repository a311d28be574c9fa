"""RabbitMQ's ring: a restart of the broker moves no aggregate to another queue.

It makes the ring anew from the bindings when a node starts, in the order of the queues' names. Eleven queues are more
than ten: names whose numbers have no fixed width would be bound in another order than they are sorted in.
"""

import asyncio

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import declare_exchange
from relay.operating.topology.declaring import declare
from relay.operating.topology.topology import Topology
from sandbox.lifetime import private
from sandbox.servers.backend import Extra
from tests.integration.relay.operating.topology.topology_stage import emptied, places, publish

AGGREGATES = [f"order-{n}" for n in range(400)]


async def _declare(amqp_url: str, topology: Topology) -> None:
    connection = await Connection.open(amqp_url, name="test")
    try:
        await declare_exchange(connection, await connection.channel(), topology.source)
        await declare(connection, topology)
    finally:
        await connection.close()


def test_a_restart_of_the_broker_moves_no_aggregate_to_another_queue() -> None:
    topology = Topology.read("hash:11", source="outbox", header="aggregate_id")
    names = [queue.name for queue in topology.queues]
    with private.rabbitmq(Extra()) as server:
        asyncio.run(_declare(server.url, topology))
        publish(server.url, topology.source, AGGREGATES)
        before = places(emptied(server.url, names, len(AGGREGATES)))
        assert set(before.values()) == set(names)
        server.stop()
        server.start()
        publish(server.url, topology.source, AGGREGATES)
        assert places(emptied(server.url, names, len(AGGREGATES))) == before
        server.kill()
        server.start()
        publish(server.url, topology.source, AGGREGATES)
        assert places(emptied(server.url, names, len(AGGREGATES))) == before
