"""The state of the relay as one value, and as the document that `relay status --json` prints. Pure."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from relay.core.position import Lsn
from relay.operating.slot.statements import Checkpoint, Slot
from relay.operating.status.local_relay import LocalRelay


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the slot has not sent yet, read from a copy of it."""

    lag_seconds: float
    """How long ago its oldest transaction was committed; 0 if there is none."""
    transactions: int
    events: int | None
    """How many outbox events are in it; None if outbox.event cannot be read."""
    complete: bool
    """Whether this is the whole backlog, and not only its beginning."""


@dataclass(frozen=True, slots=True)
class Parked:
    """The events that are waiting in relay.parked."""

    waiting: int
    latest_at: datetime | None
    latest: str | None
    """Id, reason and detail of the event that was parked last."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Rates since the previous status; None is unknown."""

    events_per_second: float | None
    wal_bytes_per_second: float | None


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the relay; None is missing or unknown."""

    relay: str
    at: datetime
    current_lsn: str
    slot: Slot | None
    checkpoint: Checkpoint | None
    standbys: int
    local: LocalRelay | None
    """The relay on this machine, unless another one streams."""
    backlog: Backlog | None
    """None if the streaming relay answers here."""
    parked: Parked | None
    wrong: str | None
    """Why no events pass now."""
    last_error: str | None
    """The same; or what is less bad, down to the event that was parked last."""

    @property
    def mode(self) -> str:
        """`wal` if a relay streams from the slot, else `none`."""
        return "none" if self.slot is None or self.slot.holder_pid is None else "wal"

    @property
    def lag_seconds(self) -> float | None:
        """Everything that was committed longer ago is confirmed."""
        if self.local is not None and self.local.mode == "wal":
            return self.local.lag_seconds
        return None if self.backlog is None else self.backlog.lag_seconds


def bad(status: Status, max_lag: float, *, unknown: bool) -> str | None:
    """Return why the answer is bad: no events pass, or the lag is over `max_lag` seconds, or (`unknown`) not known."""
    if status.wrong is not None:
        return status.wrong
    if status.lag_seconds is None:
        return "the lag is unknown: it takes the right to copy the slot, or the relay's own answer" if unknown else None
    if status.lag_seconds > max_lag:
        return f"the lag is {status.lag_seconds:.1f} s, more than {max_lag:g} s"
    return None


def throughput(before: Status, after: Status) -> Throughput:
    """Return the rates between two statuses."""
    seconds = (after.at - before.at).total_seconds()
    events = wal = None
    if before.local and after.local and 0 <= before.local.confirmed <= after.local.confirmed:
        events = (after.local.confirmed - before.local.confirmed) / seconds
    if before.slot and after.slot and before.slot.confirmed_flush_lsn and after.slot.confirmed_flush_lsn:
        moved = Lsn.parse(after.slot.confirmed_flush_lsn) - Lsn.parse(before.slot.confirmed_flush_lsn)
        wal = moved / seconds
    return Throughput(events, wal)


def document(status: Status, rates: Throughput | None, bad: str | None) -> dict[str, Any]:
    """Return what `--json` prints of a status that is `bad` for that reason.

    Sizes are bytes, times are ISO 8601, null is missing or unknown.
    """
    slot, local = status.slot, status.local
    active = None
    if slot is not None and slot.holder_pid is not None:
        active = {
            "application_name": slot.holder_name,
            "pid": slot.holder_pid,
            "since": slot.holder_since,
            "client_address": slot.holder_address,
        }
    return {
        "ok": bad is None,
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
        "in_flight": None if local is None else local.in_flight,
        "parked": None if status.parked is None else status.parked.waiting,
        "throughput": None if rates is None else asdict(rates),
        "last_error": bad or status.last_error,
    }
