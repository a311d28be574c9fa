"""One event, one replication slot, and what a server says of a relay; tests replace the fields that they are about."""

from datetime import UTC, datetime

from relay.core.event import OutboxEvent
from relay.operating.slot.statements import Slot
from relay.storage.facts import Facts, Owner

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

FACTS = Facts(
    server_encoding="UTF8",
    server_version=150018,
    wal_level="logical",
    wal_sender_timeout_ms=60_000,
    in_recovery=False,
    server_started_at=datetime(2026, 11, 1, tzinfo=UTC),
    wal_end="0/20",
    system_identifier="7000000000000000001",
    database="shop",
    database_oid=16_384,
    role="outbox_relay",
    may_replicate=True,
    relations="16400p outbox.event",
    slot="s",
    plugin="wal2json",
    slot_database="shop",
    wal_status="reserved",
    confirmed_flush_lsn="0/10",
    holder_pid=None,
    holder_name=None,
    holder_since=None,
    checkpoint_slot="s",
    checkpoint_mode="wal",
    checkpoint_lsn="0/18",
    checkpoint_snapshot="700:700:",
    checkpoint_streamed="{}",
    checkpoint_round_snapshot=None,
    checkpoint_round_seq=None,
    checkpoint_filter_snapshot=None,
    checkpoint_filter_end=None,
    checkpoint_making_slot=False,
    checkpoint_wanted="auto",
    checkpoint_epoch=7,
    checkpoint_at=datetime(2026, 11, 20, tzinfo=UTC),
    checkpoint_system="7000000000000000001",
    checkpoint_database="shop",
    checkpoint_database_oid=16_384,
    checkpoint_plugin="wal2json",
    checkpoint_outboxes=["outbox.event"],
    checkpoint_slot_exists=True,
    other_relay=None,
    other_outboxes=None,
)
OWNER = Owner("relay", "s", ["outbox.event"])
