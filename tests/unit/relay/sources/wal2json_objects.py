"""The objects that wal2json writes in format version 2, and the row that tests start from."""

import json
from datetime import UTC, datetime
from typing import Any

TIMESTAMP = "2026-11-20 20:00:01.5+00"
TABLE = "event_20261120"
COMMITTED_AT = datetime(2026, 11, 20, 20, 0, 1, 500000, tzinfo=UTC)
ROW: dict[str, Any] = {
    "id": "0b0c9a1e-9df5-4a0e-8f4e-1f2f3f4f5f6f",
    "seq": 7,
    "tx": "741",
    "aggregate_type": "order",
    "aggregate_id": "42",
    "aggregate_version": 3,
    "event_type": "placed",
    "payload": '{"total": 12}',
    "headers": "{}",
    "exchange": None,
    "routing_key": None,
    "created_at": "2026-11-20 20:00:00.123456+00",
}


def written(change: dict[str, Any]) -> bytes:
    """Write JSON without blanks, as wal2json does."""
    return json.dumps(change, ensure_ascii=False, separators=(",", ":")).encode()


def insert(
    row: dict[str, Any], *, schema: str = "outbox", table: str = TABLE, oids: dict[str, int] | None = None
) -> bytes:
    columns = [
        {"name": name, **({} if oids is None else {"typeoid": oids.get(name, 3802)}), "value": value}
        for name, value in row.items()
    ]
    start = {"action": "I", "timestamp": TIMESTAMP, "lsn": "0/16B3748"}
    return written(start | {"schema": schema, "table": table, "columns": columns})


def begin(end: str = "0/20", *, xid: int | None = None) -> bytes:
    start = {"action": "B"} if xid is None else {"action": "B", "xid": xid}
    return written(start | {"timestamp": TIMESTAMP, "lsn": "0/10", "nextlsn": end})


def commit(end: str = "0/20") -> bytes:
    return written({"action": "C", "timestamp": TIMESTAMP, "lsn": "0/10", "nextlsn": end})


def message(content: str | bytes, *, prefix: str = "relay.fence", transactional: bool = True) -> bytes:
    start = {"action": "M", "timestamp": TIMESTAMP, "lsn": "0/10", "transactional": transactional, "prefix": prefix}
    if isinstance(content, str):
        return written(start | {"content": content})
    return written(start | {"content": "*"}).replace(b"*", content)
