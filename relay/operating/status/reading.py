"""`relay status`: how the relay stands, from Postgres, and from the relay itself where it answers on this machine.

Postgres tells who streams, the positions, what is retained and what is parked. In flight and throughput in events are
known to the relay alone: they are taken from RELAY_HTTP_ADDRESS if it answers there and says that it streams. So is
the lag in seconds; if it does not answer, a copy of the slot is read, without rows, for the oldest transaction that is
not confirmed. Nothing here changes anything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import class_row

from outboxkit import sql
from relay.core.position import Lsn
from relay.operating.slot import statements as slots
from relay.operating.slot.statements import Checkpoint, Slot
from relay.operating.status import sidecar as running
from relay.operating.status.sidecar import Running
from relay.settings import RelaySettings

# A copy of the slot is read for so many transactions and so long at most: status must answer beside a long outage too.
_TRANSACTIONS = 1000
_TIMEOUT = "3s"
# Whoever streams reports every 10 s at least, and a streaming relay has a fence back every second.
_REPORTS_WITHIN = timedelta(seconds=30)
_COMES_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the slot has still to send, read from a copy of it."""

    lag_seconds: float
    """How long ago the oldest of it was committed; 0 if there is nothing."""
    transactions: int
    events: int | None
    """How many of the outbox's events are in it; None where outbox.event cannot be read."""
    complete: bool
    """Whether that is all of it, and not only its beginning."""


@dataclass(frozen=True, slots=True)
class Parked:
    """What waits in relay.parked."""

    waiting: int
    latest_at: datetime | None
    latest: str | None
    """Id, reason and detail of what was parked last."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """What went through, each second, since the status before; None for what could not be told."""

    events_per_second: float | None
    wal_bytes_per_second: float | None


@dataclass(frozen=True, slots=True)
class Status:
    """How the relay stands; None for what is not there, or could not be told."""

    relay: str
    at: datetime
    current_lsn: str
    slot: Slot | None
    checkpoint: Checkpoint | None
    standbys: int
    running: Running | None
    """The relay of this machine, if it is the one that streams or nobody does."""
    backlog: Backlog | None
    """Only where the relay that streams does not answer here."""
    parked: Parked | None
    last_error: str | None

    @property
    def mode(self) -> str:
        """`wal` while somebody streams from the slot, else `none`."""
        return "none" if self.slot is None or self.slot.holder_pid is None else "wal"

    @property
    def lag_seconds(self) -> float | None:
        """Everything that was committed longer ago is confirmed."""
        if self.running is not None and self.running.mode == "wal":
            return self.running.lag_seconds
        return None if self.backlog is None else self.backlog.lag_seconds


def read(settings: RelaySettings) -> Status:
    """Ask Postgres and the relay; raises a Problem when Postgres cannot be asked."""
    told = here = running.ask(settings.http_address)
    with slots.connected(settings, "status") as connection:
        server = _row(connection, _Server, "status_server", {"name": settings.name})
        slot = slots.find(connection, settings.slot)
        active = slot is not None and slot.holder_pid is not None
        if told is not None and active and told.mode != "wal":
            told = None  # the one that streams runs elsewhere
        stored = slots.checkpoint(connection, settings.name) if server.has_checkpoint else None
        parked = _row(connection, Parked, "status_parked", {}) if server.has_parked else None
        backlog = None
        if slot is not None and not slot.lost and (told is None or told.mode != "wal"):
            ours = server.has_outbox and settings.outbox_table == slots.OUTBOX and not settings.message_prefix
            backlog = _backlog(connection, slot, settings.name, server.at, ours=ours)
    return Status(
        relay=settings.name,
        at=server.at,
        current_lsn=server.current_lsn,
        slot=slot,
        checkpoint=stored,
        standbys=max(0, server.relays - active),
        running=told,
        backlog=backlog,
        parked=parked,
        last_error=last_error(settings.slot, slot, here, parked, at=server.at),
    )


def last_error(
    name: str, slot: Slot | None, here: Running | None, parked: Parked | None, *, at: datetime
) -> str | None:
    """Say what is wrong at `at`, the worst first; if nothing is, what was parked last. Pure.

    `here` is the relay of this machine, whether it streams or not.
    """
    if slot is None:
        return f"replication slot {name!r} does not exist"
    if slot.lost:
        return f"replication slot {name!r} is lost: {slot.invalidation_reason or 'WAL that it needed was removed'}"
    if slot.holder_pid is None:
        return _nobody_streams(slot) if here is None else _does_not_stream(here)
    if here is not None and here.mode == "wal":
        wrong = _holds_up(here)
    else:
        wrong = _unheard(slot, at)
        if wrong is None and here is not None and here.mode == "none":
            wrong = _does_not_stream(here)
    if wrong is None and parked is not None and parked.waiting:
        return f"parked at {parked.latest_at:%Y-%m-%d %H:%M:%S %Z}: {parked.latest}"
    return wrong


def _nobody_streams(slot: Slot) -> str:
    since = f" since {slot.inactive_since:%Y-%m-%d %H:%M:%S %Z}" if slot.inactive_since else ""
    return f"no relay streams from replication slot {slot.name!r}{since}"


def _holds_up(here: Running) -> str | None:
    """Say what holds up the relay that streams here."""
    if here.blocked:
        return "RabbitMQ takes no messages: it has blocked the connection"
    if set(here.not_ready) - {"lag"}:
        return f"the relay is not ready: {', '.join(here.not_ready)}"
    if here.held:
        return "a message that RabbitMQ does not take is tried again, and holds the stream: the relay's log names it"
    if not here.in_flight and here.lag_seconds > _COMES_WITHIN:
        return (
            f"nothing has come through the stream for {here.lag_seconds:.0f} s: Postgres decodes a large transaction, "
            "its walsender stands still, or the network does"
        )
    return "the relay is not ready: lag" if here.not_ready else None


def _unheard(slot: Slot, at: datetime) -> str | None:
    """Say that the slot's walsender has nobody who reports to it, or stands still itself."""
    heard = slot.holder_reported_at or slot.holder_since
    if heard is None or at - heard < _REPORTS_WITHIN:
        return None
    return (
        f"the walsender of replication slot {slot.name!r} has had no report for "
        f"{(at - heard).total_seconds():.0f} s: it stands still, or its relay or the network does "
        f"(held by {slot.holder})"
    )


def _does_not_stream(here: Running) -> str:
    return f"the relay that runs here does not stream: not ready: {', '.join(here.not_ready) or 'starting'}"


def throughput(before: Status, after: Status) -> Throughput:
    """Return what went through from `before` to `after`. Pure; None where either does not tell."""
    seconds = (after.at - before.at).total_seconds()
    events = wal = None
    if before.running and after.running and 0 <= before.running.confirmed <= after.running.confirmed:
        events = (after.running.confirmed - before.running.confirmed) / seconds
    if before.slot and after.slot and before.slot.confirmed_flush_lsn and after.slot.confirmed_flush_lsn:
        moved = Lsn.parse(after.slot.confirmed_flush_lsn) - Lsn.parse(before.slot.confirmed_flush_lsn)
        wal = moved / seconds
    return Throughput(events, wal)


def document(status: Status, passed: Throughput | None) -> dict[str, Any]:
    """Return what `--json` prints. Sizes are bytes, times ISO 8601; null is what is not there, or could not be told."""
    slot, told = status.slot, status.running
    active = None
    if slot is not None and slot.holder_pid is not None:
        active = {
            "application_name": slot.holder_name,
            "pid": slot.holder_pid,
            "since": slot.holder_since,
            "client_address": slot.holder_address,
        }
    return {
        "relay": status.relay,
        "at": status.at,
        "mode": status.mode,
        "active": active,
        "standbys": status.standbys,
        "lsn": {
            "current": status.current_lsn,
            "confirmed_flush": None if slot is None else slot.confirmed_flush_lsn,
            "restart": None if slot is None else slot.restart_lsn,
            "checkpoint": None if status.checkpoint is None else status.checkpoint.lsn,
        },
        "lag_bytes": None if slot is None else slot.lag_bytes,
        "lag_seconds": status.lag_seconds,
        "backlog": None if status.backlog is None else asdict(status.backlog),
        "retained_bytes": None if slot is None else slot.retained_bytes,
        "wal_status": None if slot is None else slot.wal_status,
        "safe_wal_size": None if slot is None else slot.safe_wal_size,
        "in_flight": None if told is None else told.in_flight,
        "parked": None if status.parked is None else status.parked.waiting,
        "throughput": None if passed is None else asdict(passed),
        "last_error": status.last_error,
    }


@dataclass(frozen=True, slots=True)
class _Server:
    current_lsn: str
    at: datetime
    relays: int
    has_checkpoint: bool
    has_parked: bool
    has_outbox: bool


def _row(connection: psycopg.Connection[Any], row: type[Any], query: str, parameters: dict[str, object]) -> Any:  # noqa: ANN401 - a row of that class
    return connection.cursor(row_factory=class_row(row)).execute(sql.query(query), parameters).fetchone()


def _backlog(
    connection: psycopg.Connection[Any], slot: Slot, relay: str, at: datetime, *, ours: bool
) -> Backlog | None:
    """Read a copy of the slot; None where that is refused (it takes REPLICATION, a free slot, wal2json) or too long."""
    with _in_time(connection):
        after = slots.confirmed(connection, slot, relay)
        found = slots.unconfirmed(connection, slot, after=after, limit=_TRANSACTIONS)
        events = _count(connection, found) if ours else None
        lag = max(0.0, (at - found[0].committed_at).total_seconds()) if found else 0.0
        return Backlog(lag, len(found), events, complete=len(found) < _TRANSACTIONS)
    return None


def _count(connection: psycopg.Connection[Any], found: list[slots.Transaction]) -> int | None:
    with _in_time(connection):
        return len(slots.events(connection, found))
    return None


@contextmanager
def _in_time(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Give up the block, and nothing else, when Postgres refuses or takes too long."""
    try:
        connection.execute(sql.query("statement_timeout"), {"timeout": _TIMEOUT})
        yield
    except psycopg.Error:
        return
