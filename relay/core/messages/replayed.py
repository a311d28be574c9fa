"""The messages of a replay: those of the live stream, with the job in a header, and sent where the job says. Pure."""

from functools import lru_cache

from msgspec.structs import replace

from outboxkit.amqp import format as names
from relay.core.event import Defective, Message, OutboxEvent, Route
from relay.core.messages.routing import Router
from relay.core.replay import Destination

_ROUTES = 4096


class ReplayRouter:
    """Routes events as `router` does, for the job `number`.

    An exchange of `destination` takes precedence over the row's own. A queue of it gets the message directly; the
    routing key that it would have had goes into a header.
    """

    def __init__(self, router: Router, number: int, destination: Destination) -> None:
        self._router = router
        self._job = str(number)
        self._destination = destination
        self._sent = lru_cache(maxsize=_ROUTES)(self._sent_to)

    def route(self, event: OutboxEvent) -> Message:
        """Return the message for `event`; the same event always gives the same message."""
        message = self._router.route(event)
        if isinstance(message.headers, Defective):  # it is parked, and keeps the reason
            return message
        plain = message.route.header_names is names.NAMES
        headers = {**message.headers, names.REPLAY if plain else names.REPLAY_ALPHANUMERIC: self._job}
        if self._destination.queue is not None:
            headers[names.ROUTING_KEY] = message.route.routing_key
        return replace(message, route=self._sent(message.route), headers=headers)

    def _sent_to(self, route: Route) -> Route:
        if self._destination.queue is not None:  # the default exchange
            return replace(route, exchange="", routing_key=self._destination.queue)
        return route if self._destination.exchange is None else replace(route, exchange=self._destination.exchange)
