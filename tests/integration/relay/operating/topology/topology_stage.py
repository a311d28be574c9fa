"""A topology on a real broker: what is published to the relay's exchange, and in which queue it arrives."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from relay.core.hashing.spread import Spread
from relay.operating.topology.topology import Topology
from sandbox import Isolated
from sandbox.machine.waiting import until

SECONDS = 30


def topology(isolated: Isolated, text: str) -> Topology:
    """Return what `--topology` makes on the exchange of a test; all of it is deleted afterwards."""
    found = Topology.read(text, source=isolated.name)
    isolated.exchange(found.exchange.removeprefix(f"{isolated.name}."))
    for queue in found.queues:
        isolated.queue(queue.name.removeprefix(f"{isolated.name}."))
    return found


@contextmanager
def channel(amqp_url: str) -> Iterator[BlockingChannel]:
    """Open a channel on a connection of its own."""
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    try:
        yield connection.channel()
    finally:
        connection.close()


def publish(
    amqp_url: str, exchange: str, aggregates: Sequence[str], *, spread: Spread, key: str = "order.paid"
) -> None:
    """Publish a message for each of `aggregates`, in this order, as the relay does: persistent, and confirmed."""
    with channel(amqp_url) as open_channel:
        open_channel.confirm_delivery()
        for aggregate in aggregates:
            headers: dict[str, Any] = {"aggregate_id": aggregate, spread.header: spread.queue_of("order", aggregate)}
            properties = pika.BasicProperties(headers=headers, delivery_mode=2)
            open_channel.basic_publish(exchange, key, b"{}", properties, mandatory=True)


def messages(amqp_url: str, queue: str) -> int:
    """Return how many messages a queue has."""
    with channel(amqp_url) as open_channel:
        return int(open_channel.queue_declare(queue, passive=True).method.message_count)


def emptied(amqp_url: str, queues: Sequence[str], expected: int) -> dict[str, list[str]]:
    """Take `expected` messages out of `queues`; return the aggregates of each queue, in the order of arrival.

    They are consumed: RabbitMQ refuses basic.get on a quorum queue with a single active consumer.
    """
    with channel(amqp_url) as open_channel:
        return _consumed(open_channel, queues, expected, auto_ack=True, arguments={})


def read(amqp_url: str, streams: Sequence[str], expected: int) -> dict[str, list[str]]:
    """Read `expected` messages from `streams`; return the aggregates of each, in the order of arrival."""
    with channel(amqp_url) as open_channel:
        open_channel.basic_qos(prefetch_count=expected)  # RabbitMQ wants one for a stream
        return _consumed(open_channel, streams, expected, auto_ack=False, arguments={"x-stream-offset": "first"})


def _consumed(
    open_channel: BlockingChannel, queues: Sequence[str], expected: int, *, auto_ack: bool, arguments: dict[str, str]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {queue: [] for queue in queues}

    def on_message(aggregates: list[str], _: object, __: object, properties: pika.BasicProperties, ___: bytes) -> None:
        aggregates.append(str((properties.headers or {})["aggregate_id"]))

    def all_came() -> bool:
        open_channel.connection.process_data_events(time_limit=1)
        return sum(map(len, found.values())) >= expected

    for queue, aggregates in found.items():
        open_channel.basic_consume(queue, partial(on_message, aggregates), auto_ack=auto_ack, arguments=arguments)
    until(all_came, what=f"{expected} messages have come", seconds=SECONDS)
    assert sum(map(len, found.values())) == expected
    return found


def belonging(of: Topology, aggregates: Iterable[str]) -> dict[str, str]:
    """Return which queue each of these orders belongs to."""
    return {each: of.queues[of.spread.queue_of("order", each)].name for each in aggregates}


def places(found: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return in which queue each aggregate came; fails if one came in two."""
    where: dict[str, str] = {}
    for queue, aggregates in found.items():
        for aggregate in aggregates:
            assert where.setdefault(aggregate, queue) == queue, f"{aggregate} came into two queues"
    return where
