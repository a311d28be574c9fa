"""What flows through the relay. Pure, immutable values.

Structs of msgspec, since one of each is made for every event: they cost a tenth of a frozen dataclass. They hold no
cycles, so the collector need not look at them.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Generic

from msgspec import Struct

from outboxkit.amqp import format as names
from outboxkit.amqp.format import JSON
from relay.core.position import P


class Headers(dict[str, object]):
    """The headers of a row. Parsing loses detail (big numbers, duplicate keys), so the original text is kept."""

    def __init__(self, text: str, headers: Mapping[str, object]) -> None:
        super().__init__(headers)
        self.text = text


class Defective(Headers):
    """In place of the headers of an event that no message can carry: their text, and why. It counts as not empty."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(text, {})
        self.why = why

    def __bool__(self) -> bool:
        return True


class OutboxEvent(Struct, frozen=True, gc=False):
    """One row of the outbox, as its source saw it."""

    id: str
    seq: int
    aggregate_type: str
    aggregate_id: str
    aggregate_version: int
    event_type: str
    payload: bytes
    """What Postgres stores: JSON or other text in UTF-8, or the bytes of a bytea."""
    headers: Mapping[str, object]
    exchange: str | None
    """Overrides the relay's exchange."""
    routing_key: str | None
    """Overrides the relay's routing key template."""
    created_at: datetime
    content_type: str = JSON
    """The payload's media type, given by the type of its column."""
    transaction: int | None = None
    """The id of the transaction that wrote it; its low 32 bits where only the WAL says which."""
    redrives: int | None = None
    """The number of the parked row that it was redriven from."""
    place: int | None = None
    """Which event of its transaction it is, from 1; None in a stream of the WAL, which has them in order."""


class Boundary(Struct, Generic[P], frozen=True, gc=False):
    """The source has handed over everything up to this position."""

    position: P
    committed_at: float | None = None
    """When the transaction committed, in seconds since 1970 on the server's clock; None if no transaction ends here."""


class Route(Struct, frozen=True, eq=False, gc=False):
    """What messages of one kind have in common: they share one object, which is compared by identity."""

    exchange: str
    routing_key: str
    aggregate_type: str
    type: str
    content_type: str = JSON
    header_names: names.HeaderNames = names.NAMES


class Message(Struct, frozen=True, gc=False):
    """An event in the form that RabbitMQ takes; publishing it again sends the same message under the same id."""

    id: str
    route: Route
    aggregate_id: str
    aggregate_version: int
    seq: int
    timestamp: int
    """Seconds since 1970, of the event's creation."""
    headers: Mapping[str, object]
    """The row's own headers, and those that the relay adds, without those that every message has."""
    body: bytes

    def all_headers(self) -> dict[str, object]:
        """Return the headers that a consumer sees: those that every message has, and the row's own."""
        of = self.route.header_names
        return {
            of.aggregate_type: self.route.aggregate_type,
            of.aggregate_id: self.aggregate_id,
            of.aggregate_version: self.aggregate_version,
            of.seq: self.seq,
            **self.headers,
        }


class Fence(Struct, frozen=True, gc=False):
    """A fence in the stream: a transactional message of the relay's own prefix; another relay may have written it."""

    content: str
    """The text that was written into it."""
