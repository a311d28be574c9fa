"""An event as its handler gets it, read from a message. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from outboxkit.amqp.format import ALPHANUMERIC, NAMES, ROUTING_KEY, UndecodableMessage

_LONGEST_ID = 255
_BIGINT = range(-(2**63), 2**63)


class Message(NamedTuple):
    """What a message is made of, as it was delivered or parked."""

    message_id: str | None
    type: str | None
    routing_key: str
    created_at: datetime | None
    headers: Mapping[str, object]
    body: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the outbox."""

    id: str
    """The message id: the same each time that the event is delivered."""
    type: str
    aggregate_type: str
    aggregate_id: str
    aggregate_version: int
    payload: Any = field(repr=False)
    headers: Mapping[str, object] = field(repr=False)
    """The row's own headers."""
    seq: int | None
    """The row's insert order, which is not the commit order."""
    created_at: datetime | None
    """When the row was written, to the second."""
    routing_key: str


def decode(message: Message) -> Event:
    """Return the event that `message` carries; raises UndecodableMessage if it does not follow the format."""
    if not message.message_id or not message.type:
        raise UndecodableMessage(f"it has no {'type' if message.message_id else 'message_id'}")
    if len(message.message_id.encode()) > _LONGEST_ID:
        raise UndecodableMessage(
            "its message_id is not UTF-8 text"
        )  # it was decoded with replacements, which are longer
    headers = message.headers
    plain = NAMES.aggregate_type in headers or ALPHANUMERIC.aggregate_type not in headers
    of = NAMES if plain else ALPHANUMERIC
    kind, aggregate_id, version = (
        headers.get(name) for name in (of.aggregate_type, of.aggregate_id, of.aggregate_version)
    )
    for name, value in ((of.aggregate_type, kind), (of.aggregate_id, aggregate_id)):
        if not isinstance(value, str) or not value:
            raise UndecodableMessage(f"header {name} is {value!r}, not a text")
    if not isinstance(version, int) or isinstance(version, bool) or version not in _BIGINT:
        raise UndecodableMessage(f"header {of.aggregate_version} is {version!r}, not a bigint")
    if any("\x00" in str(text) for text in (message.message_id, message.type, message.routing_key, kind, aggregate_id)):
        raise UndecodableMessage("a text that identifies it contains U+0000, which Postgres cannot store")
    seq = headers.get(of.seq)
    return Event(
        message.message_id,
        message.type,
        str(kind),
        str(aggregate_id),
        version,
        _payload(message.body),
        MappingProxyType({name: value for name, value in headers.items() if name not in of and name != ROUTING_KEY}),
        seq if isinstance(seq, int) else None,
        message.created_at,
        message.routing_key,
    )


def time(seconds: int | None) -> datetime | None:
    """Return a message's timestamp as a time, or None for one that it has no form for."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _payload(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UndecodableMessage(f"its body is not JSON ({error})") from error
