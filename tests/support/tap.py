"""A queue bound to everything that the relay publishes: what the broker really took, in its order, duplicates too."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, cast

import pika
from pika.adapters.blocking_connection import BlockingChannel

from sandbox.machine.waiting import until
from tests.support.oracles import Delivery

_SILENCE_SECONDS = 10.0


class Tap:
    """The queue `queue`, bound to `exchange`; it is durable, so a restart of the broker leaves what it holds."""

    def __init__(
        self, amqp_url: str, *, queue: str, exchange: str, kind: Literal["classic", "quorum"] = "classic"
    ) -> None:
        self._amqp_url = amqp_url
        self._exchange = exchange
        self.queue = queue
        with self.channel() as channel:
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": kind})
        self.bind()

    def bind(self) -> None:
        """Let it have everything that is published to the exchange, from here on."""
        with self.channel() as channel:
            channel.queue_bind(self.queue, self._exchange, "#")

    def unbind(self) -> None:
        """Let it have nothing from here on."""
        with self.channel() as channel:
            channel.queue_unbind(self.queue, self._exchange, "#")

    def waiting(self) -> int:
        """Return how many messages it holds."""
        return self.ready(self.queue)

    def grows(self, above: int, *, seconds: float = 15) -> None:
        """Wait until it holds more than `above` messages."""
        until(lambda: self.waiting() > above, what=f"more than {above} messages", seconds=seconds, every=0.01)

    def ready(self, queue: str) -> int:
        """Return how many messages of any `queue` wait to be delivered."""
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    def drain(self) -> list[Delivery]:
        """Take out what it holds now, in order."""
        waiting = self.waiting()
        found: list[Delivery] = []
        with self.channel() as channel:
            for _, properties, _ in channel.consume(self.queue, auto_ack=True, inactivity_timeout=_SILENCE_SECONDS):
                assert properties, f"{waiting} messages were there, and only {len(found)} came"
                found.append(_delivery(properties))
                if len(found) == waiting:
                    break
        return found

    def take(self) -> Mapping[str, object]:
        """Take out the oldest message, and return its headers."""
        with self.channel() as channel:
            _, properties, _ = channel.basic_get(self.queue, auto_ack=True)
        assert properties is not None
        return properties.headers or {}

    @contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        """Open a channel, on a connection of its own, which is as long as the block."""
        connection = pika.BlockingConnection(pika.URLParameters(self._amqp_url))
        try:
            yield connection.channel()
        finally:
            connection.close()


def _delivery(properties: pika.BasicProperties) -> Delivery:
    headers = properties.headers or {}
    return Delivery(
        str(properties.message_id),
        str(headers["aggregate_type"]),
        str(headers["aggregate_id"]),
        cast("int", headers["aggregate_version"]),
    )
