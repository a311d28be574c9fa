"""From an event to the message that carries it: exchange, routing key, properties, headers. Pure.

The message contract is DESIGN section 7's, as docs/architecture.md gives it.
"""

from functools import lru_cache
from string import Formatter

from messaging import format as names
from relay.event import Message, OutboxEvent
from runtime.errors import ConfigurationProblem

_KEYS = 4096

FIELDS = ("aggregate_type", "aggregate_id", "event_type")


class Router:
    """Routes events to `exchange` under a routing key made from `template`, such as `{aggregate_type}.{event_type}`.

    A row's own `exchange` and `routing_key` win. With `cloudevents_source`, a URI reference, the headers are also those
    of a CloudEvent in binary mode (https://github.com/cloudevents/spec, AMQP protocol binding). Raises
    ConfigurationProblem for a template that names anything but the fields of `FIELDS`.
    """

    def __init__(self, exchange: str, template: str, *, cloudevents_source: str | None = None) -> None:
        check_template(template)
        self._exchange = exchange
        self._cloudevents_source = cloudevents_source

        @lru_cache(maxsize=_KEYS)
        def key(aggregate_type: str, aggregate_id: str, event_type: str) -> str:
            return template.format(aggregate_type=aggregate_type, aggregate_id=aggregate_id, event_type=event_type)

        self._key = key
        self._names_the_id = any(field == "aggregate_id" for _, field, _, _ in Formatter().parse(template))

    def route(self, event: OutboxEvent) -> Message:
        """Return the message for `event`; the same event always gives the same message."""
        key = event.routing_key
        if key is None:
            # A template that does not name the id has few keys, and the cache holds them all.
            aggregate_id = event.aggregate_id if self._names_the_id else ""
            key = self._key(event.aggregate_type, aggregate_id, event.event_type)
        headers: dict[str, object] = dict(event.headers)
        if self._cloudevents_source is not None:
            headers.update(_cloudevent(event, self._cloudevents_source))
        headers[names.AGGREGATE_TYPE] = event.aggregate_type
        headers[names.AGGREGATE_ID] = event.aggregate_id
        headers[names.AGGREGATE_VERSION] = event.aggregate_version
        headers[names.SEQ] = event.seq
        return Message(
            event.id,
            self._exchange if event.exchange is None else event.exchange,
            key,
            event.event_type,
            int(event.created_at.timestamp()),
            headers,
            event.payload,
            event.content_type,
        )


def _cloudevent(event: OutboxEvent, source: str) -> dict[str, str]:
    return {
        "cloudEvents_specversion": "1.0",
        "cloudEvents_id": event.id,
        "cloudEvents_source": source,
        "cloudEvents_type": f"{event.aggregate_type}.{event.event_type}",
        "cloudEvents_subject": event.aggregate_id,
        "cloudEvents_time": event.created_at.isoformat(),
    }


def check_template(template: str) -> str:
    """Return `template` if it can be filled from every event; raises ConfigurationProblem if not."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigurationProblem(f"the routing key template is malformed: {error}", remedy=_remedy()) from error
    for _, field, spec, conversion in parts:
        if field is not None and (field not in FIELDS or spec or conversion):
            raise ConfigurationProblem(f"the routing key template names {field!r}", remedy=_remedy())
    return template


def _remedy() -> str:
    return f"use text and the fields {', '.join('{' + field + '}' for field in FIELDS)}"
