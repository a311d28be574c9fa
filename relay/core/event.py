"""What flows through the relay. Pure, immutable values.

Structs of msgspec, since one of each is made for every event: they cost a tenth of a frozen dataclass. They hold no
cycles, so the collector need not look at them.
"""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from outboxkit.amqp import format as names
from outboxkit.amqp.format import JSON
from relay.core.position import Lsn


class Headers(dict[str, object]):
    """The headers of a row, and the JSON text that they were written as: not all that text may say survives reading."""

    def __init__(self, text: str, headers: Mapping[str, object]) -> None:
        super().__init__(headers)
        self.text = text


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
    """What the payload is: told by the type of its column."""


class Boundary(Struct, frozen=True, gc=False):
    """Everything up to this position has been handed over."""

    position: Lsn
    """In the WAL: the end LSN of a commit, or a keepalive's LSN while no transaction is open."""
    committed_at: float | None = None
    """When the transaction committed, in seconds since 1970 on the server's clock; None for a keepalive."""


class Route(Struct, frozen=True, eq=False, gc=False):
    """What messages of one kind have in common: one object for all of them, and known by its identity."""

    exchange: str
    routing_key: str
    aggregate_type: str
    type: str
    content_type: str = JSON


class Message(Struct, frozen=True, gc=False):
    """An event made ready for RabbitMQ; publishing it again sends the same message under the same id."""

    id: str
    route: Route
    aggregate_id: str
    aggregate_version: int
    seq: int
    timestamp: int
    """Seconds since 1970, of the event's creation."""
    headers: Mapping[str, object]
    """The row's own, beside those that every message has."""
    body: bytes

    def all_headers(self) -> dict[str, object]:
        """Return the headers as a consumer sees them: those that every message has, and the row's own."""
        return {
            names.AGGREGATE_TYPE: self.route.aggregate_type,
            names.AGGREGATE_ID: self.aggregate_id,
            names.AGGREGATE_VERSION: self.aggregate_version,
            names.SEQ: self.seq,
            **self.headers,
        }


class Fence(Struct, frozen=True, gc=False):
    """A fence that this relay emitted has come back through the stream: the stream lives, up to here."""

    token: str
    """What the relay wrote into it."""
