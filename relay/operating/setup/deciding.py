"""What `relay setup` does about the slot and the stored position. Pure: it judges facts that others have asked for.

A stored position without its slot, or below it, means a gap: no slot has the events committed since. A new start would
skip them silently, so it is made only when an operator accepts the gap. What belongs to somebody else is never taken.
"""

from dataclasses import dataclass
from typing import Literal

from relay.core.errors import SlotHeld, SlotMissing, SourceRefused
from relay.core.position import Lsn
from relay.sources.preconditions import require_snapshot, require_state
from relay.sources.wal.ownership import (
    OtherDatabase,
    OtherOutbox,
    OtherPartition,
    OtherServer,
    OtherSlot,
    compare,
    differences,
    gap,
    require_position,
    require_slot,
)
from relay.sources.wal.starting import require_plugin, start_position
from relay.storage.facts import Facts, Owner


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do."""

    slot: Literal["keep", "create", "drop and create"]
    set_position: bool
    """Whether the stored position becomes the slot's."""


def decide(facts: Facts, owner: Owner, *, plugin: str, accept_gap: bool, pollable: bool) -> Decision:
    """Return what `relay setup` does; raises SourceRefused, with a remedy, for what it must not do.

    `plugin` is the one that was asked for, or `auto`. `pollable` is whether the table has what no slot has; so it has
    while the relay polls it.
    """
    require_slot(facts, owner)
    lost = facts.slot is not None and facts.wal_status == "lost"
    gone = facts.slot is None or lost
    make: Literal["create", "drop and create"] = "drop and create" if lost else "create"
    if not gone:
        require_plugin(facts, owner, plugin=plugin)
    if facts.state is None:
        if not accept_gap:
            _require_unused(facts, owner)
        return Decision(make if gone else _kept(facts), set_position=True)
    if polls_on(facts, owner, pollable=pollable):
        if accept_gap:
            raise _no_gap()
        return Decision(make if gone else "keep", set_position=False)
    if accept_gap:
        return _accepted(facts, owner, make if gone else None)
    require_position(facts, owner)
    if gone:
        raise SlotMissing(
            f"replication slot {owner.slot!r} is gone; events were published up to {facts.checkpoint_lsn}, and no slot "
            "has what was committed since",
            remedy=gap(owner, "create a new slot"),
        )
    start_position(facts, owner, None)
    return Decision("keep", set_position=False)


def replaces(facts: Facts, owner: Owner, *, accept_gap: bool) -> bool:
    """Return whether the position of a relay that only polls is replaced: one of another server, for an accepted gap.

    Raises SourceRefused for what must not be done. On the server that the position is of, the table has each gap.
    """
    found = list(differences(facts, owner))
    for problem in found:
        if not (accept_gap and isinstance(problem, OtherServer)):
            raise problem
    if accept_gap and not found:
        require_snapshot(require_state(facts, owner.relay))
        raise _no_gap()
    return bool(found)


def polls_on(facts: Facts, owner: Owner, *, pollable: bool) -> bool:
    """Return whether the relay goes on from its stored position without a slot: the table has what no slot has."""
    if facts.state is None or facts.state.snapshot is None or _ahead(facts) or any(differences(facts, owner)):
        return False
    return pollable or facts.state.mode == "polling"


def _no_gap() -> SourceRefused:
    return SourceRefused(
        "there is no gap to accept: the table has what no slot has, and the relay polls it",
        remedy="run `relay setup` without --accept-gap, then `relay run`",
    )


def _accepted(facts: Facts, owner: Owner, make: Literal["create", "drop and create"] | None) -> Decision:
    """Return what an accepted gap leads to.

    A slot that may serve another outbox is not taken even then, nor is the position of a partition set for another one,
    nor that of another database, which is a copy's only by its name.
    """
    for problem in differences(facts, owner):
        if isinstance(problem, OtherOutbox) and (make is None or not facts.partition.whole):
            raise problem
        if isinstance(problem, OtherPartition | OtherDatabase):
            raise problem
        if isinstance(problem, OtherSlot) and facts.checkpoint_slot_exists:
            raise OtherSlot(
                f"{problem.what}; slot {facts.checkpoint_slot!r} exists",
                remedy=f"set RELAY_SLOT={facts.checkpoint_slot}; or, to leave that slot, drop it first: "
                f"RELAY_SLOT={facts.checkpoint_slot} relay slot drop",
            )
    if make is not None:
        return Decision(make, set_position=True)
    if any(differences(facts, owner)):
        return Decision(_kept(facts), set_position=True)
    try:
        start_position(facts, owner, None)
    except SourceRefused:
        return Decision(_kept(facts), set_position=True)
    return Decision("keep", set_position=False)  # there is no gap


def _require_unused(facts: Facts, owner: Owner) -> None:
    """Raise a Problem for an existing slot of which nothing is stored, if somebody may miss it."""
    if facts.holder_pid is not None:
        raise SlotHeld(
            f"replication slot {owner.slot!r} is held by {facts.holder_name!r}, pid {facts.holder_pid}, and relay "
            f"{owner.relay!r} has no stored position: it may be somebody else's",
            remedy="set RELAY_NAME and RELAY_SLOT to other names; or, if it is this relay's, stop it first",
        )
    if facts.wal_status == "lost" or _kept(facts) != "keep":
        raise SlotMissing(
            f"replication slot {owner.slot!r} is lost or ahead of the server's WAL, and relay {owner.relay!r} has no "
            "stored position: what was published is not known",
            remedy="if it is somebody else's, set RELAY_NAME and RELAY_SLOT to other names; otherwise "
            f"{compare(owner)}, then create a new slot with `relay setup --accept-gap`",
        )


def _ahead(facts: Facts) -> bool:
    """Return whether the stored position is ahead of the server's WAL: its snapshot is no better then."""
    return facts.checkpoint_lsn is not None and Lsn.parse(facts.checkpoint_lsn) > Lsn.parse(facts.wal_end)


def _kept(facts: Facts) -> Literal["keep", "drop and create"]:
    """Return what becomes of an existing slot: one that is ahead of the server's WAL would skip what is yet to come."""
    ahead = Lsn.parse(facts.confirmed_flush_lsn or "0/0") > Lsn.parse(facts.wal_end)
    return "drop and create" if ahead else "keep"
