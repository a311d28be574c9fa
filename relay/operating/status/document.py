"""The state of the relay as one value, and as the document that `relay status --json` prints. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from relay.core.position import Lsn
from relay.operating.members import Member, missing
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
class Leader:
    """The session that makes a relay the active one."""

    pid: int
    name: str | None
    since: datetime | None
    address: str | None

    def __str__(self) -> str:
        since = f", since {self.since:%Y-%m-%d %H:%M:%S %Z}" if self.since else ""
        return f"{self.name} pid {self.pid}" + (f" on {self.address}" if self.address else "") + since


@dataclass(frozen=True, slots=True)
class Change:
    """The last change from one source to the other: the columns of sql/queries/status_handover.sql."""

    from_mode: str
    to_mode: str
    reason: str
    detail: str
    at: datetime


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
    leader: Leader | None = None
    """The active relay; None if there is none."""
    source: str = "auto"
    """RELAY_SOURCE, as the command has it."""
    change: Change | None = None
    waits: str | None = None
    """What a change to the WAL waits for; None if none is due."""
    window: Slot | None = None
    """The slot that keeps WAL for replays; None if there is none."""
    pollers: int | None = None
    """How many share the table; None unless RELAY_POLL_STRATEGY is skip_locked."""
    members: Sequence[Member] = ()
    """The relays that share the events of the outbox, with this one; none if it publishes all."""

    @property
    def mode(self) -> str:
        """`wal` or `polling`, what the active relay reads; `none` if there is none."""
        if self.leader is None or self.checkpoint is None:
            return "none"
        return self.checkpoint.mode

    @property
    def why(self) -> str | None:
        """Why the relay reads what it reads, in a few words; None if nothing is stored."""
        if self.checkpoint is None:
            return None
        if self.source == self.checkpoint.mode:
            return f"RELAY_SOURCE is {self.source}"
        if self.checkpoint.wanted == self.checkpoint.mode:
            return "asked for by `relay switch`"
        if self.checkpoint.lsn is None:
            return "the first start: what the table has is polled first"
        return self._why_changed(self.checkpoint)

    @property
    def since(self) -> datetime | None:
        """When the relay changed to what it reads; None if it never changed."""
        return None if self._change is None else self._change.at

    @property
    def _change(self) -> Change | None:
        """The change to what the relay reads; what the history has from before the first start is no such change."""
        stored, change = self.checkpoint, self.change
        if stored is None or stored.lsn is None or change is None or change.to_mode != stored.mode:
            return None
        return change

    def _why_changed(self, stored: Checkpoint) -> str:
        change = self._change
        if change is None:
            return "works" if stored.mode == "wal" else "relay.handover does not say it; see the relay's log"
        if change.reason == "asked for":
            return f"{stored.mode} was asked for before; `relay switch` has asked for {stored.wanted} since"
        return f"{change.reason}: {change.detail}"

    @property
    def lag_seconds(self) -> float | None:
        """Everything that was committed longer ago is confirmed."""
        if self.local is not None and self.local.mode in {"wal", "polling"}:
            return self.local.lag_seconds
        return None if self.backlog is None else self.backlog.lag_seconds


def bad(status: Status, max_lag: float, *, unknown: bool) -> str | None:
    """Return why the answer is bad: no events pass, or the lag is over `max_lag` seconds, or (`unknown`) not known."""
    if status.wrong is not None:
        return status.wrong
    if (others := missing(status.members, beside=status.relay)) is not None:
        return f"events of the outbox are published by nobody: {others}"
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
    slot, local, window = status.slot, status.local, status.window
    leader, stored = status.leader, status.checkpoint
    active = leader and {
        "application_name": leader.name,
        "pid": leader.pid,
        "since": leader.since,
        "client_address": leader.address,
    }
    return {
        "ok": bad is None,
        "relay": status.relay,
        "at": status.at,
        "mode": status.mode,
        "stored_mode": stored and stored.mode,
        "why": status.why,
        "since": status.since,
        "switch_waits_for": status.waits,
        "active": active,
        "standbys": status.standbys,
        "pollers": status.pollers,
        "members": [
            {
                "partition": f"{each.partition}/{each.partitions}",
                "relay": None if each.vacant else each.name,
                "active": each.active,
                "stored_at": each.updated_at,
            }
            for each in status.members
        ],
        "lsn": {
            "current": status.current_lsn,
            "confirmed_flush": None if slot is None else slot.confirmed_flush_lsn,
            "restart": None if slot is None else slot.restart_lsn,
            "checkpoint": stored and stored.lsn,
        },
        "snapshot": stored and stored.snapshot,
        "wanted": stored and stored.wanted,
        "making_slot": stored and stored.making_slot,
        "lag_bytes": None if slot is None else slot.lag_bytes,
        "lag_seconds": status.lag_seconds,
        "backlog": None if status.backlog is None else asdict(status.backlog),
        "retained_bytes": None if slot is None else slot.retained_bytes,
        "wal_status": None if slot is None else slot.wal_status,
        "safe_wal_size": None if slot is None else slot.safe_wal_size,
        "replay_window": window
        and {"slot": window.name, "from": window.confirmed_flush_lsn, "retained_bytes": window.retained_bytes},
        "in_flight": None if local is None else local.in_flight,
        "skipped_locked": None if local is None else local.skipped,
        "conflicts": None if local is None else local.conflicts,
        "shadow": None if local is None or local.shadow is None else asdict(local.shadow),
        "parked": None if status.parked is None else status.parked.waiting,
        "throughput": None if rates is None else asdict(rates),
        "last_error": bad or status.last_error,
    }
