"""The check of the stored position, by the same rules that `relay run` starts by. Pure."""

from outboxkit.errors import Problem
from relay.operating.check.finding import Check, Status, Verdict, fail, ok
from relay.sources.wal.ownership import require_position, require_slot
from relay.sources.wal.starting import start_position
from relay.storage.facts import Facts, Owner

Position = tuple[Facts, Owner]
"""The server's facts about the relay, and the relay."""


def owner(found: Position) -> Verdict:
    """Judge whether slot and stored position are this relay's: its outbox, its database, its server."""
    facts, relay = found
    stored = {
        "relay": relay.relay,
        "slot": relay.slot,
        "outboxes": relay.outboxes,
        "stored_slot": facts.checkpoint_slot,
        "stored_outboxes": facts.checkpoint_outboxes,
        "stored_database": facts.checkpoint_database,
        "stored_system_identifier": facts.checkpoint_system,
    }
    try:
        require_slot(facts, relay)
        require_position(facts, relay)
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy, **stored)
    return ok(f"slot {relay.slot!r} and its position belong to relay {relay.relay!r}", **stored)


def position(found: Position) -> Verdict:
    """Judge whether the relay can start from its stored position."""
    facts, relay = found
    stored = {"lsn": facts.checkpoint_lsn, "epoch": facts.checkpoint_epoch, "stored_at": facts.checkpoint_at}
    if facts.checkpoint_lsn is not None and (facts.slot is None or facts.wal_status == "lost"):
        return fail(
            f"events were published up to {facts.checkpoint_lsn}, and no slot has what was committed since",
            remedy="run `relay setup`, which says what to compare and how to go on",
            **stored,
        )
    try:
        start = start_position(facts, relay, None)
    except Problem as problem:
        ours = owner(found).status is Status.OK
        return fail(problem.what, remedy=problem.remedy if ours else "see checkpoint.owner first", **stored)
    return ok(f"the relay starts after {start}", start=str(start), **stored)


CHECKS = (Check("checkpoint.owner", owner), Check("checkpoint.position", position))
