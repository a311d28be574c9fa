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
from outboxkit.errors import Problem
from relay.operating.connection import connected
from relay.operating.members import members
from relay.operating.slot import statements as slots
from relay.operating.slot.statements import Checkpoint, Slot, Transaction
from relay.operating.status import local_relay
from relay.operating.status.document import Backlog, Change, Leader, Parked, Status
from relay.operating.status.last_error import last_error, wrong
from relay.settings import RelaySettings
from relay.storage.facts import Facts
from relay.storage.sessions.refusals import check_failover, check_wal_level
from relay.storage.slots.obstacles import Obstacle
from relay.watching.metrics import SOURCES, About

# Reading the copy of the slot is limited, so that status also answers after a long outage.
_TRANSACTIONS = 1000
_TIMEOUT = "3s"
_EVENTS = 100_000


def gather(settings: RelaySettings) -> Status:
    """Return the state of the relay; raises a Problem if Postgres does not answer."""
    asked = local_relay.ask(settings.http_address)
    with connected(settings, "status") as connection:
        server = _row(connection, _Server, "status_server", {"name": settings.name})
        slot = slots.find(connection, settings.slot)
        about = About(settings.name, settings.slot, server.database, server.system)
        asked = local = asked if asked is not None and asked.about == about else None
        active = server.leader_pid is not None
        if local is not None and active and local.mode not in SOURCES:
            local = None  # the active relay runs elsewhere
        stored = slots.checkpoint(connection, settings.name) if server.has_checkpoint else None
        parked = _row(connection, Parked, "status_parked", {"name": settings.name}) if server.has_parked else None
        polling = stored is not None and stored.mode == "polling"
        backlog = None
        if local is None or local.mode not in SOURCES:
            ours = server.has_outbox and settings.outbox_table == slots.OUTBOX and not settings.message_prefix
            if stored is not None and stored.mode == "polling":
                backlog = _unpolled(connection, settings.name) if ours else None
            elif slot is not None and not slot.lost:
                backlog = _backlog(connection, settings, slot, server.at, ours=ours)
        window = slots.replay_slot(connection, settings.name) if server.has_checkpoint else None
        waits = _waits(connection, settings, stored, active=active) if polling and stored is not None else None
        together = members(connection, settings.name) if stored is not None else []
        change = _row(connection, Change, "status_handover", {"name": settings.name}) if stored is not None else None
    return Status(
        relay=settings.name,
        at=server.at,
        current_lsn=server.current_lsn,
        slot=slot,
        checkpoint=stored,
        standbys=max(0, server.relays - server.active),
        pollers=server.active if settings.poll_strategy == "skip_locked" else None,
        local=local,
        backlog=backlog,
        parked=parked,
        leader=None
        if server.leader_pid is None
        else Leader(server.leader_pid, server.leader_name, server.leader_since, server.leader_address),
        wrong=wrong(settings.slot, slot, asked, at=server.at, polling=polling, active=active),
        source=settings.source,
        change=change,
        waits=waits,
        window=window,
        members=together,
        last_error=last_error(settings.slot, slot, asked, parked, at=server.at, polling=polling, active=active),
    )


@dataclass(frozen=True, slots=True)
class _Server:
    current_lsn: str
    at: datetime
    database: str
    system: str
    relays: int
    leader_pid: int | None
    leader_name: str | None
    leader_since: datetime | None
    leader_address: str | None
    active: int
    has_checkpoint: bool
    has_parked: bool
    has_outbox: bool


def _row(connection: psycopg.Connection[Any], row: type[Any], query: str, parameters: dict[str, object]) -> Any:  # noqa: ANN401 - a row of that class
    return connection.cursor(row_factory=class_row(row)).execute(sql.query(query), parameters).fetchone()


def _backlog(
    connection: psycopg.Connection[Any], settings: RelaySettings, slot: Slot, at: datetime, *, ours: bool
) -> Backlog | None:
    """Read a copy of the slot; None if that takes too long or is refused (needs REPLICATION, a free slot, wal2json)."""
    with _optional(connection):
        after = slots.confirmed(connection, slot, settings.name)
        found = slots.unconfirmed(connection, slot, after=after, limit=_TRANSACTIONS)
        events = _count(connection, settings, found) if ours else None
        lag = max(0.0, (at - found[0].committed_at).total_seconds()) if found else 0.0
        return Backlog(lag, len(found), events, complete=len(found) < _TRANSACTIONS)
    return None


def _unpolled(connection: psycopg.Connection[Any], relay: str) -> Backlog | None:
    """Count what the stored snapshot does not see in outbox.event; None if that takes too long."""
    with _optional(connection):
        found = connection.execute(sql.query("status_unpolled"), {"name": relay, "limit": _EVENTS}).fetchone()
        if found is not None:
            lag, transactions, events = found
            return Backlog(lag, transactions, events, complete=events < _EVENTS)
    return None


def _waits(
    connection: psycopg.Connection[Any], settings: RelaySettings, stored: Checkpoint, *, active: bool
) -> str | None:
    """Return what keeps a relay that polls from the WAL; None if it is to poll."""
    if settings.source == "polling" or stored.wanted == "polling":
        return None
    if stored.making_slot:
        held = connection.cursor(row_factory=class_row(Obstacle))
        found = held.execute(sql.query("slot_waits_for"), {"slot": settings.slot}).fetchall()
        return "the end of " + ("; ".join(map(str, found)) or "the making of the new slot")
    facts = slots.facts(connection, settings)
    if (obstacle := _obstacle(facts, settings)) is not None:
        return obstacle
    if not active:
        return "this relay, which is not active"
    if stored.lsn is None or stored.wanted == "wal":
        return "the rest of the backlog, which is polled first; the relay's log names a fault of the WAL"
    return f"{settings.return_after:g} s without a fault of the WAL (RELAY_RETURN_AFTER); the relay's log names a fault"


def _obstacle(facts: Facts, settings: RelaySettings) -> str | None:
    """Return what a relay needs first, on this server, to read the WAL; None if nothing is known to be missing."""
    try:
        check_wal_level(facts.wal_level)
        check_failover(facts.server_version, wanted=settings.slot_failover)
    except Problem as problem:
        return problem.what
    if not facts.may_replicate:
        return f"REPLICATION, which role {facts.role} lacks, or what this server grants instead"
    if facts.holder_pid is not None:
        return f"the slot, which {facts.holder_name!r} holds, pid {facts.holder_pid}"
    return None


def _count(connection: psycopg.Connection[Any], settings: RelaySettings, found: list[Transaction]) -> int | None:
    with _optional(connection):
        return len(slots.events(connection, settings, found))
    return None


@contextmanager
def _optional(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """End the block without an error if Postgres refuses it, or does not finish within the timeout."""
    try:
        connection.execute(sql.query("statement_timeout"), {"timeout": _TIMEOUT})
        yield
    except psycopg.Error:
        return
