"""A restart of the broker, or of each node of a cluster, moves no aggregate to another queue.

RabbitMQ's consistent-hash exchange could not keep this: up to 4.2 it makes its ring anew when a node starts and no
other runs, in the order in which a pool of workers restores the bindings (measured with 3.10.8: 8 of 13 restarts moved
aggregates).
"""

import asyncio

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import declare_exchange
from relay.operating.topology.declaring import declare
from relay.operating.topology.topology import Topology
from sandbox.lifetime import private
from sandbox.servers.backend import Extra
from tests.integration.relay.operating.topology.topology_stage import belonging, emptied, places, publish

AGGREGATES = [f"order-{n}" for n in range(400)]
TOPOLOGY = Topology.read("hash:11", source="outbox")
NAMES = [queue.name for queue in TOPOLOGY.queues]
PLACES = belonging(TOPOLOGY, AGGREGATES)


async def _declare(amqp_url: str) -> None:
    connection = await Connection.open(amqp_url, name="test")
    try:
        await declare_exchange(connection, await connection.channel(), TOPOLOGY.source)
        await declare(connection, TOPOLOGY)
    finally:
        await connection.close()


def _places(amqp_url: str) -> dict[str, str]:
    """Publish an event of each aggregate, and return in which queue it came."""
    publish(amqp_url, TOPOLOGY.source, AGGREGATES, spread=TOPOLOGY.spread)
    return places(emptied(amqp_url, NAMES, len(AGGREGATES)))


def test_a_restart_of_the_broker_moves_no_aggregate_to_another_queue() -> None:
    with private.rabbitmq(Extra()) as server:
        asyncio.run(_declare(server.url))
        assert _places(server.url) == PLACES
        assert set(PLACES.values()) == set(NAMES)
        for end in (server.stop, server.kill) * 2:
            end()
            server.start()
            assert _places(server.url) == PLACES


def test_a_restart_of_each_node_of_a_cluster_and_of_all_at_once_moves_no_aggregate_to_another_queue() -> None:
    with private.cluster(Extra()) as servers:
        asyncio.run(_declare(servers.url))
        for node in servers.nodes:
            node.stop()
            servers.start()
            assert _places(node.url) == PLACES
        for end in (servers.stop, servers.kill):
            end()
            servers.start()
            assert _places(servers.nodes[0].url) == PLACES
