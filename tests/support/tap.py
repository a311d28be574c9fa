"""A queue bound to everything that the relay publishes: the messages that the broker took, with duplicates."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, cast

import pika
from pika.adapters.blocking_connection import BlockingChannel

from sandbox.machine.waiting import until
from tests.support.oracles import Delivery

_SILENCE_SECONDS = 10.0
_ACKNOWLEDGED_TOGETHER = 500
"""A quorum queue delivers no more than 2,000 messages that are not acknowledged."""


class Tap:
    """The queue `queue`, bound to `exchange`; it is durable, so its messages survive a restart of the broker.

    `amqp_url` may be the URLs of a cluster's nodes, with a comma between them: the first that answers is used.
    """

    def __init__(
        self, amqp_url: str, *, queue: str, exchange: str, kind: Literal["classic", "quorum", "stream"] = "classic"
    ) -> None:
        self._nodes = [pika.URLParameters(url) for url in amqp_url.split(",")]
        self._exchange = exchange
        self.queue = queue
        with self.channel() as channel:
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": kind})
        self.bind()

    def bind(self) -> None:
        """Route everything that is published to the exchange to the queue, from now on."""
        with self.channel() as channel:
            channel.queue_bind(self.queue, self._exchange, "#")

    def unbind(self) -> None:
        """Route nothing to the queue from now on."""
        with self.channel() as channel:
            channel.queue_unbind(self.queue, self._exchange, "#")

    def declare(self, exchange: str) -> None:
        """Declare `exchange`, whose messages reach the queue from its first moment on: it has no bindings of its own.

        A message that came between a declaration and a binding would be returned
        (https://www.rabbitmq.com/docs/ae).
        """
        with self.channel() as channel:
            channel.exchange_declare(exchange, "topic", durable=True, arguments={"alternate-exchange": self._exchange})

    def waiting(self) -> int:
        """Return how many messages are in the queue."""
        return self.ready(self.queue)

    def grows(self, above: int, *, seconds: float = 60) -> None:
        """Wait until the queue has more than `above` messages."""
        until(lambda: self.waiting() > above, what=f"more than {above} messages", seconds=seconds, every=0.01)

    def ready(self, queue: str) -> int:
        """Return how many messages are ready in `queue`, which may be another queue."""
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    def drain(self) -> list[Delivery]:
        """Consume the messages that are in the queue now, in order; what comes meanwhile stays in it."""
        waiting = self.waiting()
        found: list[Delivery] = []
        if not waiting:
            return found
        with self.channel() as channel:
            for method, properties, _ in channel.consume(self.queue, inactivity_timeout=_SILENCE_SECONDS):
                assert method, f"{waiting} messages were there, and only {len(found)} came"
                assert properties
                found.append(delivery(properties))
                if len(found) == waiting or len(found) % _ACKNOWLEDGED_TOGETHER == 0:
                    channel.basic_ack(method.delivery_tag or 0, multiple=True)
                if len(found) == waiting:
                    break
            channel.cancel()
        return found

    def take(self) -> Mapping[str, object]:
        """Consume the oldest message, and return its headers."""
        with self.channel() as channel:
            _, properties, _ = channel.basic_get(self.queue, auto_ack=True)
        assert properties is not None
        return properties.headers or {}

    @contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        """Open a channel on a connection of its own, closed at the end of the block."""
        connection = pika.BlockingConnection(self._nodes)
        try:
            yield connection.channel()
        finally:
            connection.close()


def delivery(properties: pika.BasicProperties) -> Delivery:
    """Return the event that a message with `properties` is about."""
    headers = properties.headers or {}
    return Delivery(
        str(properties.message_id),
        str(headers["aggregate_type"]),
        str(headers["aggregate_id"]),
        cast("int", headers["aggregate_version"]),
    )
