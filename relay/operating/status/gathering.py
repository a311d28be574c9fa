"""Asks Postgres, and the relay on this machine, for the state of the relay. It changes nothing.

Postgres knows who streams, the positions, the retained WAL and the parked events. Only the relay itself knows what is
in flight, its lag in seconds and how many events it has confirmed. It is asked at RELAY_HTTP_ADDRESS; its answer counts
only if it is this relay, and the one that streams. Without an answer, a copy of the slot is read for its oldest
transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from outboxkit import sql
from relay.operating.connection import connected
from relay.operating.slot import statements as slots
from relay.operating.slot.statements import Slot, Transaction
from relay.operating.status import local_relay
from relay.operating.status.document import Backlog, Parked, Status
from relay.operating.status.last_error import last_error, wrong
from relay.settings import RelaySettings
from relay.watching.metrics import About

# Reading the copy of the slot is limited, so that status also answers after a long outage.
_TRANSACTIONS = 1000
_TIMEOUT = "3s"


def gather(settings: RelaySettings) -> Status:
    """Return the state of the relay; raises a Problem if Postgres does not answer."""
    asked = local_relay.ask(settings.http_address)
    with connected(settings, "status") as connection:
        server = _row(connection, _Server, "status_server", {"name": settings.name})
        slot = slots.find(connection, settings.slot)
        about = About(settings.name, settings.slot, server.database, server.system)
        asked = local = asked if asked is not None and asked.about == about else None
        active = slot is not None and slot.holder_pid is not None
        if local is not None and active and local.mode != "wal":
            local = None  # the relay that streams runs elsewhere
        stored = slots.checkpoint(connection, settings.name) if server.has_checkpoint else None
        parked = _row(connection, Parked, "status_parked", {"name": settings.name}) if server.has_parked else None
        backlog = None
        if slot is not None and not slot.lost and (local is None or local.mode != "wal"):
            ours = server.has_outbox and settings.outbox_table == slots.OUTBOX and not settings.message_prefix
            backlog = _backlog(connection, slot, settings.name, server.at, ours=ours)
    return Status(
        relay=settings.name,
        at=server.at,
        current_lsn=server.current_lsn,
        slot=slot,
        checkpoint=stored,
        standbys=max(0, server.relays - active),
        local=local,
        backlog=backlog,
        parked=parked,
        wrong=wrong(settings.slot, slot, asked, at=server.at),
        last_error=last_error(settings.slot, slot, asked, parked, at=server.at),
    )


@dataclass(frozen=True, slots=True)
class _Server:
    current_lsn: str
    at: datetime
    database: str
    system: str
    relays: int
    has_checkpoint: bool
    has_parked: bool
    has_outbox: bool


def _row(connection: psycopg.Connection[Any], row: type[Any], query: str, parameters: dict[str, object]) -> Any:  # noqa: ANN401 - a row of that class
    return connection.cursor(row_factory=class_row(row)).execute(sql.query(query), parameters).fetchone()


def _backlog(
    connection: psycopg.Connection[Any], slot: Slot, relay: str, at: datetime, *, ours: bool
) -> Backlog | None:
    """Read a copy of the slot; None if that takes too long or is refused (needs REPLICATION, a free slot, wal2json)."""
    with _optional(connection):
        after = slots.confirmed(connection, slot, relay)
        found = slots.unconfirmed(connection, slot, after=after, limit=_TRANSACTIONS)
        events = _count(connection, found) if ours else None
        lag = max(0.0, (at - found[0].committed_at).total_seconds()) if found else 0.0
        return Backlog(lag, len(found), events, complete=len(found) < _TRANSACTIONS)
    return None


def _count(connection: psycopg.Connection[Any], found: list[Transaction]) -> int | None:
    with _optional(connection):
        return len(slots.events(connection, found))
    return None


@contextmanager
def _optional(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """End the block without an error if Postgres refuses it, or does not finish within the timeout."""
    try:
        connection.execute(sql.query("statement_timeout"), {"timeout": _TIMEOUT})
        yield
    except psycopg.Error:
        return
