"""Declares a topology: first its queues, then the exchange, then the bindings in the order of the queues.

Nothing comes to the exchange before all queues are bound, since its own binding is the last step. So a run that was
interrupted is finished by the next one. Where the exchange is there and a queue is not, that queue was deleted, and
aggregates have moved to other queues: a new one, at the end of the ring, would move them once more. That is for a
person.
"""

from collections.abc import Sequence

from outboxkit.amqp.answers.answer import ACCEPTED, NOT_FOUND
from outboxkit.amqp.asking import Channel, tried
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.errors import BrokerRefused, PreconditionFailed
from outboxkit.amqp.topology import declare_unbound
from relay.operating.topology.topology import ANEW, EXCHANGE_TYPE, WEIGHT, Topology


async def declare(connection: Connection, topology: Topology) -> str:
    """Declare what is missing, and bind it to the relay's exchange, which is there; return a line.

    Raises PluginMissing, or BrokerRefused with a remedy for what must not be declared.
    """
    if await _there(connection, topology):
        missing = [queue.name for queue in topology.queues if not await _has_queue(connection, queue.name)]
        if missing:
            raise _deleted(topology, missing)
    channel = await connection.channel()
    try:
        for queue in topology.queues:
            if topology.kind == "hash":
                await declare_unbound(connection, channel, queue.name, single_active=True)
            else:
                await connection.call(channel.queue_declare, queue.name, durable=True, arguments=queue.arguments)
        await declare_exchange(connection, channel, topology)
    except PreconditionFailed as refused:
        raise PreconditionFailed(
            refused.what,
            remedy=f"it was declared otherwise, which cannot change; choose another number than {topology.number}, "
            f"which has queues of its own; or begin this one anew: {ANEW}",
        ) from refused
    for queue in topology.queues:
        await connection.call(channel.queue_bind, queue.name, topology.exchange, WEIGHT, arguments=queue.of_binding)
    for key in topology.keys:
        await connection.call(channel.exchange_bind, topology.exchange, topology.source, key)
    of = "queues by hash" if topology.kind == "hash" else "partitions of a super stream"
    first, last, keys = topology.queues[0].name, topology.queues[-1].name, ", ".join(topology.keys)
    return f"topology: {topology.number} {of}, {first!r} to {last!r}, get {keys} of {topology.source!r}"


async def declare_exchange(connection: Connection, channel: Channel, topology: Topology) -> None:
    """Declare the exchange that hashes. It is internal: what came past the relay might have no header to hash."""
    await connection.call(
        channel.exchange_declare,
        topology.exchange,
        exchange_type=EXCHANGE_TYPE,
        durable=True,
        internal=True,
        arguments=topology.exchange_arguments,
    )


async def _there(connection: Connection, topology: Topology) -> bool:
    async def passive(channel: Channel) -> None:
        await connection.call(channel.exchange_declare, topology.exchange, passive=True)

    return (await tried(connection, passive)).code == ACCEPTED


async def _has_queue(connection: Connection, name: str) -> bool:
    async def passive(channel: Channel) -> None:
        await connection.call(channel.queue_declare, name, passive=True)

    return (await tried(connection, passive)).code != NOT_FOUND


def _deleted(topology: Topology, missing: Sequence[str]) -> BrokerRefused:
    return BrokerRefused(
        f"exchange {topology.exchange!r} is there, and {', '.join(map(repr, missing))} behind it is not: when it was "
        "deleted, aggregates moved to other queues",
        remedy=f"begin the topology anew: {ANEW}; `relay replay` publishes again what was deleted",
    )
