"""What is to be done: one event, for one handler. It is either of a delivery, or was parked and is asked for again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString

from consumers.events.declaring.event import Event, Message
from consumers.events.declaring.registry import Handler
from outboxkit import sql
from outboxkit.amqp.consuming.deliveries import Delivery
from outboxkit.backoff import Backoff


@dataclass(slots=True, eq=False)
class Work:
    """An event for a handler."""

    handler: Handler
    event: Event
    message: Message
    since: float
    """When it came, by the loop's clock."""
    delivery: Delivery | None = None
    parked: int | None = None
    """Its row in inbox.parked, if it was parked and is asked for again."""
    failures: int = 0
    backoff: Backoff | None = None

    @property
    def aggregate(self) -> tuple[str, str, str]:
        """Whose turn it is: events of one aggregate are handled one after another, by each handler for itself."""
        return self.handler.name, self.event.aggregate_type, self.event.aggregate_id

    @property
    def unversioned(self) -> bool:
        """Whether its version cannot be checked, although its handler asks for it."""
        return self.handler.by == "version" and self.event.aggregate_version < 1

    def claim(self) -> tuple[LiteralString, Mapping[str, object]]:
        """Return the statement that claims it, in the handler's transaction, and its parameters."""
        handler, event = self.handler, self.event
        if self.parked is not None:
            return sql.query("inbox_take_parked"), {"number": self.parked, "starts_at": handler.starts_at}
        if handler.by == "message":
            return sql.query("inbox_claim"), {"consumer": handler.name, "message_id": event.id}
        return sql.query("inbox_advance"), {
            "consumer": handler.name,
            "aggregate_type": event.aggregate_type,
            "aggregate_id": event.aggregate_id,
            "version": event.aggregate_version,
            "starts_at": handler.starts_at,
        }
