"""The event of a row or message that has only the required fields."""

from datetime import UTC, datetime

from relay.core.event import OutboxEvent

COMMITTED_AT = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)

EVENT = OutboxEvent(
    id="7f2c",
    seq=0,
    aggregate_type="order",
    aggregate_id="42",
    aggregate_version=0,
    event_type="placed",
    payload=b'{"total": 1.10}',
    headers={},
    exchange=None,
    routing_key=None,
    created_at=COMMITTED_AT,
)
