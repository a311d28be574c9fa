"""What is checked of the relay's slot: that it is there and the right one, and how long it will last. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from relay.operating.check.finding import Check, Verdict, fail, ok, unknown, warn
from relay.operating.display import size
from relay.operating.slot.statements import Slot

# What a slot may keep where nothing else says how much is too much.
_RETAINED_BYTES = 10 << 30
_LITTLE_LEFT = 0.25


@dataclass(frozen=True, slots=True)
class Place:
    """The relay's slot, if there is one, and what must agree with it."""

    name: str
    plugin: str
    """RELAY_PLUGIN."""
    database: str
    slot: Slot | None
    limit_bytes: int | None
    """max_slot_wal_keep_size; None without a limit."""


def existence(place: Place) -> Verdict:
    """Judge whether there is a slot to stream from."""
    if place.slot is None:
        return fail(f"replication slot {place.name!r} does not exist", remedy="run `relay setup`", slot=place.name)
    return ok(f"replication slot {place.name!r} is there", slot=place.name)


def purpose(slot: Slot, place: Place) -> Verdict:
    """Judge whether it is a slot for this database and this plugin."""
    facts = {"plugin": slot.plugin, "database": slot.database, "temporary": slot.temporary}
    known = ("wal2json", "pgoutput") if place.plugin == "auto" else (place.plugin,)
    if slot.plugin not in known or slot.database != place.database or slot.temporary:
        return fail(
            f"the slot is for {slot.plugin} in database {slot.database}",
            remedy=f"name another with RELAY_SLOT: it takes one for {' or '.join(known)} in {place.database}",
            **facts,
        )
    return ok(f"the slot is for {slot.plugin} in {slot.database}", **facts)


def holder(slot: Slot, place: Place) -> Verdict:
    """Tell who streams from it: a relay that starts now would stand by."""
    del place
    facts = {"pid": slot.holder_pid, "application_name": slot.holder_name, "since": slot.holder_since}
    if slot.holder_pid is None:
        return ok("nobody streams from the slot", **facts)
    return ok(f"held by {slot.holder}; a relay that starts now stands by", **facts)


def wal_status(slot: Slot, place: Place) -> Verdict:
    """Judge whether Postgres still has what the slot needs."""
    del place
    facts = {"wal_status": slot.wal_status, "invalidation_reason": slot.invalidation_reason}
    catch_up = "let the relay catch up now; raise max_slot_wal_keep_size meanwhile"
    if slot.lost:
        return fail(
            f"the slot is lost: {slot.invalidation_reason or 'WAL that it needed was removed'}",
            remedy="`relay slot drop`, then `relay setup`, which says what may have been missed",
            **facts,
        )
    if slot.wal_status == "unreserved":
        return fail("the slot is about to be lost: its WAL goes at the next checkpoint", remedy=catch_up, **facts)
    if slot.wal_status == "extended":
        return warn("the slot keeps more WAL than max_wal_size", remedy=catch_up, **facts)
    return ok(f"wal_status is {slot.wal_status}", **facts)


def safe_wal_size(slot: Slot, place: Place) -> Verdict:
    """Judge how much more may be written before the slot is lost."""
    left, limit = slot.safe_wal_size, place.limit_bytes
    facts = {"safe_wal_size": left}
    if slot.lost:
        return fail("nothing is left: the slot is lost", remedy="see slot.wal_status", **facts)
    if left is None:
        return ok("the slot cannot be lost by its size: max_slot_wal_keep_size is unlimited", **facts)
    told = f"{size(left)} of WAL until the slot is lost"
    if left <= 0:
        return fail(told, remedy="let the relay catch up now; raise max_slot_wal_keep_size", **facts)
    if limit is not None and left < limit * _LITTLE_LEFT:
        return warn(told, remedy="let the relay catch up; raise max_slot_wal_keep_size", **facts)
    return ok(told, **facts)


def retained_wal(slot: Slot, place: Place) -> Verdict:
    """Judge how much of the disk the slot keeps."""
    kept = slot.retained_bytes
    facts = {"retained_bytes": kept, "restart_lsn": slot.restart_lsn}
    if kept is None:
        return unknown("the slot keeps no WAL that could be measured", remedy="see slot.wal_status", **facts)
    limit = _RETAINED_BYTES if place.limit_bytes is None else place.limit_bytes // 2
    told = f"the slot keeps {size(kept)} of WAL"
    if kept > limit:
        return warn(
            told, remedy="see `relay status` for who streams and how far; and postgres.long_transactions", **facts
        )
    return ok(told, **facts)


def _of(judge: Callable[[Slot, Place], Verdict]) -> Callable[[Place], Verdict]:
    """Make a check of a slot one of a place, where the slot may be missing."""

    def judge_place(place: Place) -> Verdict:
        if place.slot is None:
            return unknown("not told: there is no slot", remedy="run `relay setup`")
        return judge(place.slot, place)

    return judge_place


CHECKS = (
    Check("slot.exists", existence),
    Check("slot.purpose", _of(purpose)),
    Check("slot.holder", _of(holder)),
    Check("slot.wal_status", _of(wal_status)),
    Check("slot.safe_wal_size", _of(safe_wal_size)),
    Check("slot.retained_wal", _of(retained_wal)),
)
