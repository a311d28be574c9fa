"""A tap that is a stream (https://www.rabbitmq.com/docs/streams): reading takes nothing out of it.

RabbitMQ counts a stream's messages from time to time only. So a tap publishes a mark behind them, and reads up to it.
"""

import secrets

import pika

from tests.support.oracles import Delivery
from tests.support.tap import Tap, delivery

_MARK = "mark "
_PREFETCH = 500
_ACKNOWLEDGED_TOGETHER = 100
_SILENCE_SECONDS = 30.0


class StreamTap(Tap):
    """The stream `queue`, bound to `exchange`, and how far it was read."""

    def __init__(self, amqp_url: str, *, queue: str, exchange: str) -> None:
        super().__init__(amqp_url, queue=queue, exchange=exchange, kind="stream")
        self._next = 0
        """The offset behind what was read."""
        self._arrived: list[Delivery] = []
        """What was read and not drained."""

    def waiting(self) -> int:
        """Return how many messages came since it was drained last."""
        self._read()
        return len(self._arrived)

    def drain(self) -> list[Delivery]:
        """Return these messages, in order."""
        self._read()
        arrived, self._arrived = self._arrived, []
        return arrived

    def _read(self) -> None:
        """Read what is in the stream now."""
        with self.channel() as channel:
            mark = f"{_MARK}{secrets.token_hex(8)}"
            channel.confirm_delivery()
            channel.basic_publish("", self.queue, b"", pika.BasicProperties(message_id=mark, delivery_mode=2))
            channel.basic_qos(prefetch_count=_PREFETCH)
            begin = {"x-stream-offset": self._next}
            messages = channel.consume(self.queue, arguments=begin, inactivity_timeout=_SILENCE_SECONDS)
            # The consumer ends with its connection: a stream takes nothing back, and a cancel would give back.
            for count, (method, properties, _) in enumerate(messages, start=1):
                assert method, f"nothing came from {self.queue} for {_SILENCE_SECONDS:g} s, and its end was not reached"
                assert properties
                if count % _ACKNOWLEDGED_TOGETHER == 0:
                    channel.basic_ack(method.delivery_tag or 0, multiple=True)
                self._take(properties)
                if properties.message_id == mark:
                    return
        raise AssertionError(f"RabbitMQ ended the consumer of {self.queue} before it had read to the end")

    def _take(self, properties: pika.BasicProperties) -> None:
        offset = int(str((properties.headers or {})["x-stream-offset"]))
        if offset < self._next:  # RabbitMQ begins with the chunk that the offset is in
            return
        self._next = offset + 1
        if not str(properties.message_id).startswith(_MARK):
            self._arrived.append(delivery(properties))
