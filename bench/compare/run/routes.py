"""Unbinds a run's queue and binds it again, and counts what RabbitMQ could not route meanwhile."""

import asyncio
from contextlib import suppress

from bench.load import queues
from bench.stage import Stage
from outboxkit.errors import Problem

# Since 3.9: https://www.rabbitmq.com/docs/prometheus names the same counters.
_UNROUTABLE = (
    "lists:sum([maps:get(messages_unroutable_dropped_total, C, 0) + maps:get(messages_unroutable_returned_total, C, 0)"
    " || {_, C} <- maps:to_list(rabbit_global_counters:overview())])."
)


class Routes:
    """The binding of `queue` to the exchange of a stage."""

    def __init__(self, place: Stage, queue: str) -> None:
        self._place = place
        self._queue = queue

    def unbind(self) -> None:
        """Let the exchange route nothing."""
        asyncio.run(queues.unbind(self._place.amqp_url, self._queue, exchange=self._place.exchange))

    def bind(self) -> None:
        """Let the exchange route everything into the queue."""
        asyncio.run(queues.bind(self._place.amqp_url, self._queue, exchange=self._place.exchange))

    def unroutable(self) -> int:
        """Return how many messages the broker has dropped or returned; 0 if it is not ours to ask."""
        with suppress(Problem, ValueError):
            return int(self._place.box.rabbitmq.control("eval", _UNROUTABLE).strip())
        return 0
