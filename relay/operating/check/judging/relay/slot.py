"""Checks of the relay's slot: whether it exists, is the right one, and is in danger of being lost. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from outboxkit.checks.finding import Check, Verdict, fail, ok, unknown, warn
from relay.operating.check.judging.not_needed import NOT_NEEDED
from relay.operating.display import size
from relay.operating.slot.statements import Slot
from relay.sources.wal.starting import PLUGINS, other_plugin
from relay.storage.facts import Owner

# How much WAL a slot may retain without a warning, if max_slot_wal_keep_size is unlimited.
_RETAINED_BYTES = 10 << 30
_LITTLE_LEFT = 0.25
_SEE_STATUS = "see `relay status` for why the relay does not catch up"
_CATCH_UP = f"raise max_slot_wal_keep_size now; {_SEE_STATUS}"


@dataclass(frozen=True, slots=True)
class RelaySlot:
    """The slot that RELAY_SLOT names, and what it must match."""

    name: str
    plugin: str
    """RELAY_PLUGIN."""
    database: str
    slot: Slot | None
    """None if it does not exist."""
    limit_bytes: int | None
    """max_slot_wal_keep_size; None without a limit."""
    owner: Owner
    polls: bool = False
    """Whether the relay only polls, and so has no slot."""
    stored: bool = True
    """Whether the relay has a stored position."""
    copied: bool = False
    """RELAY_SLOT_FAILOVER: whether standbys are to keep a copy of it."""
    waits_for: str | None = None
    """synchronized_standby_slots: the standbys that the stream of such a slot waits for."""


def existence(relay: RelaySlot) -> Verdict:
    """Judge whether the slot exists; of a relay that only polls, whether one is left that nobody reads."""
    if relay.polls:
        return _left(relay)
    if relay.slot is None:
        return fail(f"replication slot {relay.name!r} does not exist", remedy="run `relay setup`", slot=relay.name)
    return ok(f"replication slot {relay.name!r} exists", slot=relay.name)


def purpose(slot: Slot, relay: RelaySlot) -> Verdict:
    """Judge whether the slot is for this database and this plugin."""
    facts = {"plugin": slot.plugin, "database": slot.database, "temporary": slot.temporary}
    wanted = PLUGINS if relay.plugin == "auto" else (relay.plugin,)
    kind = "a temporary slot" if slot.temporary else "a slot"
    use = f"{slot.plugin} in database {slot.database}" if slot.plugin else "physical replication"
    summary = f"{slot.name!r} is {kind} for {use}"
    if slot.database != relay.database or slot.temporary:
        remedy = "set RELAY_NAME and RELAY_SLOT to other names, then run `relay setup`"
        return fail(f"{summary}, not for {' or '.join(wanted)} in {relay.database}", remedy=remedy, **facts)
    if slot.plugin not in wanted:
        remedy = other_plugin(slot.plugin, relay.owner, stored=relay.stored)
        return fail(f"{summary}, not for {' or '.join(wanted)}", remedy=remedy, **facts)
    return ok(summary, **facts)


def holder(slot: Slot, relay: RelaySlot) -> Verdict:
    """Report who streams from the slot: a relay that starts now would be a standby."""
    del relay
    facts = {"pid": slot.holder_pid, "application_name": slot.holder_name, "since": slot.holder_since}
    if slot.holder_pid is None:
        return ok("nobody streams from the slot", **facts)
    return ok(f"held by {slot.holder}; a relay that starts now is a standby", **facts)


def wal_status(slot: Slot, relay: RelaySlot) -> Verdict:
    """Judge whether Postgres still has the WAL that the slot needs."""
    facts = {"wal_status": slot.wal_status, "invalidation_reason": slot.invalidation_reason}
    if slot.lost:
        return fail(
            f"the slot is lost: {slot.why_lost}",
            remedy="run `relay setup`, which says what may be missing and how to continue",
            **facts,
        )
    if slot.wal_status == "unreserved":
        return fail("the slot is lost at the next checkpoint, which removes its WAL", remedy=_CATCH_UP, **facts)
    if slot.wal_status == "extended":
        remedy = _SEE_STATUS if relay.limit_bytes is None else _CATCH_UP
        return warn("the slot retains more WAL than max_wal_size", remedy=remedy, **facts)
    return ok(f"wal_status is {slot.wal_status}", **facts)


def safe_wal_size(slot: Slot, relay: RelaySlot) -> Verdict:
    """Judge how much more WAL may be written before the slot is lost."""
    left, limit = slot.safe_wal_size, relay.limit_bytes
    facts = {"safe_wal_size": left}
    if slot.lost:
        return fail("the slot is lost", remedy="see slot.wal_status", **facts)
    if left is None:
        return ok("the slot cannot be lost by its size: max_slot_wal_keep_size is unlimited", **facts)
    summary = f"{size(max(left, 0))} of WAL until the slot is lost"
    if left <= 0:
        return fail(summary, remedy=_CATCH_UP, **facts)
    if limit is not None and left < limit * _LITTLE_LEFT:
        return warn(summary, remedy=_CATCH_UP, **facts)
    return ok(summary, **facts)


def retained_wal(slot: Slot, relay: RelaySlot) -> Verdict:
    """Judge how much WAL the slot retains on disk."""
    kept = slot.retained_bytes
    facts = {"retained_bytes": kept, "restart_lsn": slot.restart_lsn}
    if kept is None:
        return unknown("unknown: the slot has no restart_lsn", remedy="see slot.wal_status", **facts)
    limit = _RETAINED_BYTES if relay.limit_bytes is None else relay.limit_bytes // 2
    summary = f"the slot retains {size(kept)} of WAL"
    if kept > limit:
        return warn(
            summary, remedy="see `relay status` for who streams and the lag, and postgres.long_transactions", **facts
        )
    return ok(summary, **facts)


def failover(slot: Slot, relay: RelaySlot) -> Verdict:
    """Judge whether standbys can keep a copy of the slot, if that is asked for, and have what is streamed from it."""
    facts = {"failover": slot.failover, "synchronized_standby_slots": relay.waits_for}
    if not relay.copied:
        return ok("not asked for", **facts)
    if slot.failover is None:
        return unknown("unknown: this server keeps no copies of slots", remedy="see postgres.slot_failover", **facts)
    if not slot.failover:
        return fail(
            f"replication slot {slot.name!r} was made while RELAY_SLOT_FAILOVER was off: standbys keep no copy of it",
            remedy=f"stop the relay, run psql 'dbname={slot.database} replication=database' -c "
            f"'ALTER_REPLICATION_SLOT {slot.name} (FAILOVER true)' as a role with REPLICATION, and start the relay",
            **facts,
        )
    if not relay.waits_for:
        return warn(
            "the relay may publish events that no standby has yet, and that a failover loses",
            remedy="name the physical slot of each standby that may be promoted: ALTER SYSTEM SET "
            "synchronized_standby_slots = '...'; SELECT pg_reload_conf()",
            **facts,
        )
    return ok(f"standbys can keep a copy of the slot; its stream waits for {relay.waits_for}", **facts)


def _left(relay: RelaySlot) -> Verdict:
    slot = relay.slot
    if slot is None or slot.database != relay.database or slot.holder_pid is not None:
        return ok(NOT_NEEDED.format("polling"), slot=relay.name)
    return warn(
        f"nobody reads replication slot {slot.name!r} while RELAY_SOURCE is polling, and it retains "
        f"{size(slot.retained_bytes or 0)} of WAL",
        remedy="as a role with REPLICATION, run `relay slot drop`: nothing is missed by it; or set RELAY_SOURCE=auto, "
        "which reads it",
        slot=slot.name,
        retained_bytes=slot.retained_bytes,
    )


def _of(judge: Callable[[Slot, RelaySlot], Verdict]) -> Callable[[RelaySlot], Verdict]:
    """Return `judge` for a slot that may not exist."""

    def judge_relay(relay: RelaySlot) -> Verdict:
        if relay.polls:
            return ok(NOT_NEEDED.format("polling"))
        if relay.slot is None:
            return unknown("unknown: the slot does not exist", remedy="see slot.exists")
        return judge(relay.slot, relay)

    return judge_relay


CHECKS = (
    Check("slot.exists", existence),
    Check("slot.purpose", _of(purpose)),
    Check("slot.holder", _of(holder)),
    Check("slot.wal_status", _of(wal_status)),
    Check("slot.safe_wal_size", _of(safe_wal_size)),
    Check("slot.retained_wal", _of(retained_wal)),
    Check("slot.failover", _of(failover)),
)
