"""What a delivery is: an event, and the handlers that take it. Pure."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from consumers.events.declaring.event import Event, Message, decode
from consumers.events.declaring.event import time as time_of
from consumers.events.declaring.registry import Handler
from outboxkit.amqp.consuming.deliveries import Delivery
from outboxkit.amqp.format import ROUTING_KEY

_CACHED = 4096


class Reading:
    """Reads the deliveries of `queue` for `handlers`."""

    def __init__(self, handlers: Sequence[Handler], queue: str) -> None:
        self._queue = queue

        @lru_cache(maxsize=_CACHED)
        def takers(routing_key: str) -> tuple[Handler, ...]:
            return tuple(handler for handler in handlers if handler.takes(routing_key))

        self.takers = takers
        """Returns the handlers that take a routing key."""

    def read(self, delivery: Delivery) -> tuple[Event, Message]:
        """Return the event of `delivery`; raises UndecodableMessage."""
        headers = delivery.headers or {}
        message = Message(
            delivery.message_id,
            delivery.type,
            self._routing_key(delivery, headers),
            time_of(delivery.timestamp),
            headers,
            delivery.body,
        )
        return decode(message), message

    def _routing_key(self, delivery: Delivery, headers: Mapping[str, object]) -> str:
        """Return the key under which the message was published.

        One that comes straight to the queue, back from its dead-letter queue, has the queue's name for a key. The
        first one is in the header that `consumers dlq redrive --events` writes; or, if something else has moved it, in
        the last entry of `x-death` (https://www.rabbitmq.com/docs/dlx#effects).
        """
        if delivery.routing_key != self._queue:
            return delivery.routing_key
        match headers.get(ROUTING_KEY), headers.get("x-death"):
            case (str(first), _) | (_, [*_, {"routing-keys": [str(first), *_]}]) if first != self._queue:
                return first
            case _:
                return f"{headers.get('aggregate_type')}.{delivery.type}"
