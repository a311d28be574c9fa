"""Decoder of wal2json's format version 2: one JSON object for each BEGIN, INSERT and COMMIT. Pure.

https://github.com/eulerto/wal2json. Transactions arrive whole and in commit order. B and C carry `lsn`, the commit
record's position, and `nextlsn`, its end: the end LSN is what may be reported as flushed. A row's own LSN is neither
unique (COPY) nor monotone across transactions, so it is not used.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from relay.errors import UndecodableChange
from relay.event import Boundary, OutboxEvent
from relay.position import Lsn

PLUGIN = "wal2json"
OPTIONS: Mapping[str, str] = {
    "format-version": "2",
    "include-transaction": "1",
    "include-lsn": "1",
    "include-types": "0",
    "add-tables": "outbox.*",
    "actions": "insert",
    "add-msg-prefixes": "relay.fence",
}

_NO_HEADERS: Mapping[str, object] = {}


class Wal2JsonDecoder:
    """Turns the payloads of one stream, in order, into events and boundaries."""

    def __init__(self) -> None:
        self.in_transaction = False
        """Whether a BEGIN has been seen and its COMMIT has not."""

    def decode(self, payload: bytes) -> OutboxEvent | Boundary | None:
        """Return what `payload` means for the relay: nothing for a BEGIN or for a change that is no outbox event.

        Raises UndecodableChange, naming the column, when a row lacks what an event needs.
        """
        change = json.loads(payload)
        match change["action"]:
            case "I" if change["schema"] == "outbox" and change["table"].startswith("event"):
                return _event(change)
            case "B":
                self.in_transaction = True
            case "C":
                self.in_transaction = False
                return Boundary(Lsn.parse(change["nextlsn"]))
        return None


def _event(change: Mapping[str, Any]) -> OutboxEvent:
    row = {column["name"]: column["value"] for column in change["columns"]}
    try:
        headers = row["headers"]
        return OutboxEvent(
            id=row["id"],
            seq=row["seq"],
            aggregate_type=row["aggregate_type"],
            aggregate_id=row["aggregate_id"],
            aggregate_version=row["aggregate_version"],
            event_type=row["event_type"],
            payload=row["payload"].encode(),
            headers=_NO_HEADERS if headers == "{}" else json.loads(headers),
            exchange=row["exchange"],
            routing_key=row["routing_key"],
            created_at=datetime.fromisoformat(row["created_at"]),
        )
    except KeyError as error:
        raise UndecodableChange(
            f"table outbox.{change['table']} has no column {error.args[0]!r}",
            remedy="restore the column, or run the version of the relay that fits the table",
        ) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UndecodableChange(
            f"a row of outbox.{change['table']} cannot be read: {error}",
            remedy="give the columns of outbox.event the types that `relay setup` gave them",
        ) from error
