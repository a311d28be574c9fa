"""What arrives: which handlers a delivery is for, and when all of them have settled it, so that it is acked.

What is no event is dead-lettered at once, and so is an event that no handler takes, unless such events are to be acked.
"""

import structlog

from consumers.events.declaring.event import Event, Message
from consumers.events.declaring.registry import Handler
from consumers.events.running.reading import Reading
from consumers.intake.intake import Intake
from consumers.watching.event_metrics import EventMetrics
from outboxkit.amqp.consuming.deliveries import Delivery
from outboxkit.amqp.format import UndecodableMessage

log = structlog.get_logger()
_KEYS_LOGGED = 100


class Arrivals:
    """The deliveries of `intake` that are not settled; `keep_unhandled` dead-letters what no handler takes."""

    def __init__(self, intake: Intake, reading: Reading, metrics: EventMetrics, *, keep_unhandled: bool) -> None:
        self._intake = intake
        self._reading = reading
        self._metrics = metrics
        self._keep_unhandled = keep_unhandled
        self._left: dict[tuple[int, int], int] = {}
        """How many handlers have not settled a delivery, by its channel and tag."""
        self._unhandled: set[str] = set()
        """The routing keys without a handler that were logged."""
        self.generation = 0
        """The channel of the last delivery."""

    def on_new_channel(self, delivery: Delivery) -> bool:
        """Return whether `delivery` is the first of its channel; what came on another one comes again."""
        if delivery.generation == self.generation:
            return False
        self.generation = delivery.generation
        self._left.clear()
        return True

    def read(self, delivery: Delivery) -> tuple[Event, Message, tuple[Handler, ...]] | None:
        """Return the event, its message and its handlers; None if there is nothing to do with it any more."""
        try:
            event, message = self._reading.read(delivery)
        except UndecodableMessage as error:
            log.warning(
                "undecodable event dead-lettered",
                message_id=delivery.message_id,
                routing_key=delivery.routing_key,
                reason=str(error),
            )
            self._metrics.count("undecodable")
            self._intake.reject(delivery)
            return None
        takers = self._reading.takers(event.routing_key)
        if not takers:
            self._nobody(event, delivery)
            return None
        self._left[delivery.generation, delivery.tag] = len(takers)
        return event, message, takers

    def settled(self, delivery: Delivery) -> None:
        """Take note that one of its handlers has settled `delivery`; ack it after the last one."""
        key = (delivery.generation, delivery.tag)
        left = self._left.get(key, 0) - 1
        if left > 0:
            self._left[key] = left
        elif self._left.pop(key, None) is not None:
            self._intake.ack(delivery)

    def _nobody(self, event: Event, delivery: Delivery) -> None:
        """Settle an event that no handler takes; a newer version of the application, elsewhere, may have one."""
        self._metrics.count("unhandled")
        (self._intake.reject if self._keep_unhandled else self._intake.ack)(delivery)
        if event.routing_key not in self._unhandled and len(self._unhandled) < _KEYS_LOGGED:
            self._unhandled.add(event.routing_key)
            log.warning(
                "event without a handler",
                routing_key=event.routing_key,
                dead_lettered=self._keep_unhandled,
                remedy="if a newer version has its handler, `consumers dlq redrive --events` when this one has ended; "
                "if a pattern of an earlier version is still bound, unbind it, and purge the dead-letter queue",
            )
