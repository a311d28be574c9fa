"""One event and one replication slot; tests replace the fields that they are about."""

from datetime import UTC, datetime

from relay.core.event import OutboxEvent
from relay.operating.slot.statements import Slot

EVENT = OutboxEvent(
    id="0b0c9a1e-9df5-4a0e-8f4e-1f2f3f4f5f6f",
    seq=7,
    aggregate_type="order",
    aggregate_id="42",
    aggregate_version=3,
    event_type="placed",
    payload=b'{"total": 1.10}',
    headers={"traceparent": "00-ab"},
    exchange=None,
    routing_key=None,
    created_at=datetime(2026, 11, 20, 20, 0, 0, 900_000, tzinfo=UTC),
)

SLOT = Slot(
    name="s",
    plugin="wal2json",
    database="shop",
    temporary=False,
    holder_pid=None,
    holder_name=None,
    holder_since=None,
    holder_address=None,
    holder_reported_at=None,
    current_lsn="0/20",
    confirmed_flush_lsn="0/10",
    restart_lsn="0/1",
    lag_bytes=16,
    retained_bytes=31,
    wal_status="reserved",
    safe_wal_size=1 << 30,
    invalidation_reason=None,
    inactive_since=None,
)
