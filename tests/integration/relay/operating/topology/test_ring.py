"""RabbitMQ's ring: a restart of the broker, or of each node of a cluster, moves no aggregate to another queue.

It may make the ring anew from the bindings when its first node starts. One worker does it in the order of the queues'
names, and several in any order: the sandbox sets `default_worker_pool_size = 1`, as docs/scaling.md demands. Eleven
queues are more than ten: names whose numbers have no fixed width would be bound in another order than they are sorted
in. Before 3.10.6, a node that came back to its cluster bound all queues once more (rabbitmq-server, issue 3386).
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
TOPOLOGY = Topology.read("hash:11", source="outbox", header="aggregate_id")
NAMES = [queue.name for queue in TOPOLOGY.queues]


async def _declare(amqp_url: str) -> None:
    connection = await Connection.open(amqp_url, name="test")
    try:
        await declare_exchange(connection, await connection.channel(), TOPOLOGY.source)
        await declare(connection, TOPOLOGY)
    finally:
        await connection.close()


def _places(amqp_url: str) -> dict[str, str]:
    """Publish an event of each aggregate, and return in which queue it came."""
    publish(amqp_url, TOPOLOGY.source, AGGREGATES)
    return places(emptied(amqp_url, NAMES, len(AGGREGATES)))


def test_a_restart_of_the_broker_moves_no_aggregate_to_another_queue() -> None:
    with private.rabbitmq(Extra()) as server:
        asyncio.run(_declare(server.url))
        before = _places(server.url)
        assert set(before.values()) == set(NAMES)
        for end in (server.stop, server.kill) * 2:
            end()
            server.start()
            assert _places(server.url) == before


def test_a_restart_of_each_node_of_a_cluster_and_of_all_at_once_moves_no_aggregate_to_another_queue() -> None:
    with private.cluster(Extra()) as servers:
        asyncio.run(_declare(servers.url))
        before = _places(servers.nodes[0].url)
        for node in servers.nodes:
            node.stop()
            servers.start()
            assert _places(node.url) == before
        servers.stop()
        servers.start()
        assert _places(servers.nodes[0].url) == before
