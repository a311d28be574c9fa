"""Checks the slot that keeps WAL for replays: whether it is the relay's own, and whether it is wanted. Pure."""

from dataclasses import dataclass

from outboxkit.checks.finding import Check, Verdict, fail, ok, warn
from relay.operating.display import size
from relay.operating.slot.statements import Slot


@dataclass(frozen=True, slots=True)
class ReplayWindow:
    """The slot for replays, and what is asked of it."""

    wanted: int | None
    """RELAY_REPLAY_WINDOW."""
    name: str
    noted: bool
    """Whether the relay has noted that it makes a slot of that name."""
    slot: Slot | None
    """None if it does not exist."""
    database: str


def replay_window(window: ReplayWindow) -> Verdict:
    """Judge whether WAL is kept for replays as it is asked."""
    facts: dict[str, object] = {
        "replay_window": window.wanted,
        "slot": window.name,
        "from": None if window.slot is None else window.slot.confirmed_flush_lsn,
        "retained_bytes": None if window.slot is None else window.slot.retained_bytes,
    }
    if window.wanted is None:
        return _unwanted(window, facts)
    slot = window.slot
    if slot is None:
        return ok(
            f"the active relay makes {window.name!r}, which keeps WAL for replays, as a copy of its slot", **facts
        )
    if not window.noted or slot.database != window.database or slot.temporary:
        return fail(
            f"replication slot {window.name!r} was not made by this relay, so no WAL is kept for replays",
            remedy=f"if nobody uses it, SELECT pg_drop_replication_slot('{window.name}'); otherwise set RELAY_SLOT to "
            "another name, or unset RELAY_REPLAY_WINDOW",
            **facts,
        )
    if slot.lost:
        return warn(
            f"the slot for replays is lost: {slot.why_lost}",
            remedy="the active relay makes it again; for a longer window, raise max_slot_wal_keep_size",
            **facts,
        )
    kept = size(slot.retained_bytes or 0)
    return ok(f"{window.name!r} keeps {kept} of WAL for replays, from {slot.confirmed_flush_lsn}", **facts)


def _unwanted(window: ReplayWindow, facts: dict[str, object]) -> Verdict:
    slot = window.slot
    if not window.noted or slot is None or slot.database != window.database:
        return ok("RELAY_REPLAY_WINDOW is off: replays read the table", **facts)
    return warn(
        f"replication slot {window.name!r} keeps {size(slot.retained_bytes or 0)} of WAL for replays, and "
        "RELAY_REPLAY_WINDOW is off",
        remedy="a relay that runs without the setting drops it within seconds, unless RELAY_SOURCE is polling: then "
        f"SELECT pg_drop_replication_slot('{window.name}')",
        **facts,
    )


CHECKS = (Check("slot.replay_window", replay_window),)
