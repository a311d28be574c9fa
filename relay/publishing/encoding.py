"""From a message to AMQP properties, and whether AMQP can carry it at all. Pure.

Field types are RabbitMQ's (https://www.rabbitmq.com/amqp-0-9-1-errata#section_3): JSON's strings, booleans, numbers,
nulls, arrays and objects all have one, but integers end at 64 bits and names at 255 bytes.
"""

from collections.abc import Mapping
from typing import Any, cast

from pika import BasicProperties

from messaging.format import CONTENT_TYPE, PERSISTENT
from relay.errors import UnpublishableEvent
from relay.event import Message

_SHORT_STRING = 255
_INT64 = range(-(2**63), 2**63)


def properties(message: Message, *, app_id: str) -> BasicProperties:
    """Return the AMQP properties of `message`: persistent, and under the event's own id."""
    return BasicProperties(
        content_type=CONTENT_TYPE,
        delivery_mode=PERSISTENT,
        message_id=message.id,
        timestamp=message.timestamp,
        type=message.type,
        app_id=app_id,
        headers=cast("dict[str, Any]", message.headers),
    )


def check(message: Message) -> None:
    """Raise UnpublishableEvent, naming what and why, for a message that AMQP cannot carry."""
    short = {"exchange": message.exchange, "routing key": message.routing_key, "type": message.type}
    for name, text in short.items():
        if len(text.encode()) > _SHORT_STRING:
            raise _unpublishable(message, f"its {name} is longer than {_SHORT_STRING} bytes")
    for name, value in message.headers.items():
        _check_field(message, name, value)


def _check_field(message: Message, name: str, value: object) -> None:
    if len(name.encode()) > _SHORT_STRING:
        raise _unpublishable(message, f"the name of header {name[:40]!r}... is longer than {_SHORT_STRING} bytes")
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        raise _unpublishable(message, f"header {name!r} is an integer beyond 64 bits")
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, object]", value).items():
            _check_field(message, key, inner)
    elif isinstance(value, list):
        for inner in value:
            _check_field(message, name, inner)


def _unpublishable(message: Message, why: str) -> UnpublishableEvent:
    return UnpublishableEvent(
        f"event {message.id} cannot be published: {why}",
        remedy="the relay stops here so that nothing is stepped over; write such events within AMQP's limits",
    )
