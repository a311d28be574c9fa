"""Makes the message of an event: exchange, routing key, properties, headers. Pure."""

from functools import lru_cache
from string import Formatter

from outboxkit.amqp import format as names
from outboxkit.errors import ConfigurationProblem
from relay.core.event import Defective, Message, OutboxEvent, Route
from relay.core.hashing.spread import Spread
from relay.core.messages.cloudevents import CloudEvents, Prefix

_ROUTES = 4096

FIELDS = ("aggregate_type", "aggregate_id", "event_type")


class Router:
    """Routes events to `exchange` with a routing key made from `template`, such as `{aggregate_type}.{event_type}`.

    A row's own `exchange` and `routing_key` take precedence. With `cloudevents_source`, a URI reference, messages are
    CloudEvents. With `spread`, a header has the number of the queue that gets the aggregate. Raises
    ConfigurationProblem for a template with any field that is not in `FIELDS`.
    """

    def __init__(
        self,
        exchange: str,
        template: str,
        *,
        cloudevents_source: str | None = None,
        cloudevents_prefix: Prefix = "cloudEvents_",
        spread: Spread | None = None,
    ) -> None:
        check_template(template)
        self._spread = spread
        self._number = "" if spread is None else spread.header
        of_queue = frozenset[str]() if spread is None else frozenset({spread.header})
        self._cloudevents = (
            None if cloudevents_source is None else CloudEvents(cloudevents_source, cloudevents_prefix, of_queue)
        )
        header_names = names.NAMES if self._cloudevents is None else self._cloudevents.names
        # A template without the id makes few routes, and the cache has room for all of them.
        self._names_the_id = any(field == "aggregate_id" for _, field, _, _ in Formatter().parse(template))

        @lru_cache(maxsize=_ROUTES)
        def chosen(  # noqa: PLR0913, PLR0917 - all that a route depends on; caching by position is faster
            kind: str, event_type: str, content_type: str, own_exchange: str | None, own_key: str | None, named_id: str
        ) -> Route:
            key = own_key
            if key is None:
                key = template.format(aggregate_type=kind, aggregate_id=named_id, event_type=event_type)
            chosen_exchange = exchange if own_exchange is None else own_exchange
            return Route(chosen_exchange, key, kind, event_type, content_type, header_names)

        self._chosen = chosen

    def route(self, event: OutboxEvent) -> Message:
        """Return the message for `event`; the same event always gives the same message."""
        kind, aggregate_id, headers = event.aggregate_type, event.aggregate_id, event.headers
        named_id = aggregate_id if self._names_the_id else ""
        route = self._chosen(kind, event.event_type, event.content_type, event.exchange, event.routing_key, named_id)
        if headers and not names.OURS.isdisjoint(headers):
            headers = {name: value for name, value in headers.items() if name not in names.OURS}
        if self._cloudevents is not None and not isinstance(headers, Defective):
            headers = self._cloudevents.headers(event, headers)
        if self._spread is not None and not isinstance(headers, Defective):
            headers = {**headers, self._number: self._spread.queue_of(kind, aggregate_id)}
        return Message(
            event.id,
            route,
            aggregate_id,
            event.aggregate_version,
            event.seq,
            int(event.created_at.timestamp()),
            headers,
            event.payload,
        )


def check_template(template: str) -> str:
    """Return `template`; raises ConfigurationProblem if it cannot be filled from every event."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigurationProblem(f"the routing key template is malformed: {error}", remedy=_remedy()) from error
    for _, field, spec, conversion in parts:
        if field is not None and (field not in FIELDS or spec or conversion):
            raise ConfigurationProblem(f"the routing key template contains {field!r}", remedy=_remedy())
    return template


def _remedy() -> str:
    return f"use text and the fields {', '.join('{' + field + '}' for field in FIELDS)}"
