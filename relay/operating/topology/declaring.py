"""Declares a topology: first its queues, then the exchange, then the bindings of the queues to it.

Nothing comes to the exchange before all queues are bound, since its own binding is the last step. So a run that was
interrupted is finished by the next one, and a queue that was deleted is made again: it gets the events of its own
aggregates, as before.
"""

from outboxkit.amqp.asking import Channel
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.errors import PreconditionFailed
from outboxkit.amqp.topology import declare_unbound
from relay.operating.topology.topology import ANEW, EXCHANGE_TYPE, Topology


async def declare(connection: Connection, topology: Topology) -> str:
    """Declare what is missing, and bind it to the relay's exchange, which is there; return a line.

    Raises BrokerRefused with a remedy for what must not be declared.
    """
    channel = await connection.channel()
    spread = topology.spread
    try:
        for queue in topology.queues:
            if spread.kind == "hash":
                await declare_unbound(connection, channel, queue.name, single_active=True)
            else:
                await connection.call(channel.queue_declare, queue.name, durable=True, arguments=queue.arguments)
        await declare_exchange(connection, channel, topology)
    except PreconditionFailed as refused:
        raise PreconditionFailed(
            refused.what,
            remedy=f"it was declared otherwise, which cannot change; choose another number than {spread.queues}, "
            f"which has queues of its own; or begin this one anew: {ANEW}",
        ) from refused
    for queue in topology.queues:
        await connection.call(channel.queue_bind, queue.name, topology.exchange, queue.key, arguments=queue.of_binding)
    for key in topology.keys:
        await connection.call(channel.exchange_bind, topology.exchange, topology.source, key)
    of = "queues by hash" if spread.kind == "hash" else "partitions of a super stream"
    first, last, keys = topology.queues[0].name, topology.queues[-1].name, ", ".join(topology.keys)
    return f"topology: {spread.queues} {of}, {first!r} to {last!r}, get {keys} of {topology.source!r}"


async def declare_exchange(connection: Connection, channel: Channel, topology: Topology) -> None:
    """Declare the exchange that compares headers. It is internal: what came past the relay might have no header."""
    await connection.call(
        channel.exchange_declare,
        topology.exchange,
        exchange_type=EXCHANGE_TYPE,
        durable=True,
        internal=True,
        arguments=topology.exchange_arguments,
    )
