"""Reads redriven events: what `relay parked redrive` puts on the stream again. Pure.

A redriven event is a transactional message with the whole event as it was parked (sql/queries/parked_redrive.sql).
Every relay of the database receives it, and takes it if it is the one that parked the event. PostgreSQL lets every role
write logical messages, with any prefix: one that has not this form is passed over, so that it stops no relay.
"""

from datetime import datetime

import msgspec

from relay.core.event import OutboxEvent
from relay.sources.fields import CONVERSIONS

REDRIVE = "relay.redrive"
"""The prefix of redriven events."""


class _Redriven(msgspec.Struct, gc=False):
    relay: str
    row: int
    id: str
    seq: int
    aggregate_type: str
    aggregate_id: str
    aggregate_version: int
    event_type: str
    payload: bytes
    """As base64, which msgspec reads."""
    headers: str
    """The text of a JSON object."""
    exchange: str | None
    routing_key: str | None
    created_at: datetime
    content_type: str


_REDRIVEN = msgspec.json.Decoder(_Redriven)
_headers = CONVERSIONS["headers"]


def redriven(content: bytes, relay: str | None, transaction: int | None) -> OutboxEvent | None:
    """Return the event of a message of `transaction`; None if another relay than `relay` parked it."""
    try:
        event = _REDRIVEN.decode(content)
        if event.relay != relay:
            return None
        headers = _headers(event.headers)
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        return None
    return OutboxEvent(
        event.id,
        event.seq,
        event.aggregate_type,
        event.aggregate_id,
        event.aggregate_version,
        event.event_type,
        event.payload,
        headers,
        event.exchange,
        event.routing_key,
        event.created_at,
        event.content_type,
        transaction,
        event.row,
    )
