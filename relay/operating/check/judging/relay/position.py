"""The check of the stored position, by the same rules that `relay run` starts by. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from outboxkit.checks.finding import Check, Status, Verdict, fail, ok, warn
from outboxkit.errors import Problem
from relay.core.errors import WalRefused
from relay.sources.handover.deciding import lasting
from relay.sources.wal.ownership import require_position, require_slot
from relay.sources.wal.starting import plugin_of, start_position
from relay.storage.facts import Facts, Owner


class Position(NamedTuple):
    """The server's facts about the relay, and the relay."""

    facts: Facts
    owner: Owner
    pollable: bool = False
    """Whether the relay polls the table while it cannot read the WAL."""
    polls: bool = False
    """Whether it only polls."""

    @property
    def either(self) -> bool:
        """Whether the relay polls from its stored position while it cannot read the WAL."""
        return self.pollable and self.facts.checkpoint_snapshot is not None and owner(self).status is Status.OK


def owner(found: Position) -> Verdict:
    """Judge whether slot and stored position are this relay's: its outbox, its database, its server."""
    facts, relay, polls = found.facts, found.owner, found.polls
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
        if not polls:
            require_slot(facts, relay)
        require_position(facts, relay)
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy, **stored)
    if polls:
        return ok(f"the stored position belongs to relay {relay.relay!r}", **stored)
    return ok(f"slot {relay.slot!r} and its position belong to relay {relay.relay!r}", **stored)


def position(found: Position) -> Verdict:
    """Judge whether the relay can start from its stored position."""
    facts, relay = found.facts, found.owner
    if found.polls:
        return _polled(facts, relay)
    stored = {
        "mode": facts.checkpoint_mode,
        "lsn": facts.checkpoint_lsn,
        "snapshot": facts.checkpoint_snapshot,
        "epoch": facts.checkpoint_epoch,
        "stored_at": facts.checkpoint_at,
    }
    ours = owner(found).status is Status.OK
    if found.either:
        return _pollable(facts, relay, stored)
    if facts.checkpoint_lsn is not None and (facts.slot is None or facts.wal_status == "lost"):
        return fail(
            f"events were published up to {facts.checkpoint_lsn}, and no slot has what was committed since",
            remedy="run `relay setup`, which says what to compare and how to go on",
            **stored,
        )
    try:
        start = start_position(facts, relay, None)
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy if ours else "see checkpoint.owner first", **stored)
    return ok(f"the relay starts after {start}", start=str(start), **stored)


def _pollable(facts: Facts, relay: Owner, stored: Mapping[str, object]) -> Verdict:
    """Judge a position that either source can go on from."""
    if facts.checkpoint_mode == "polling":
        return ok(f"the relay polls what snapshot {facts.checkpoint_snapshot} does not see", **stored)
    try:
        plugin_of(facts, relay, plugin="auto")
        start = start_position(facts, relay, None)
    except WalRefused as problem:
        what = f"{problem.what}; the relay polls the table from where it stands"
        if lasting(problem) is None:
            return warn(what, remedy="none is needed: it goes back to the WAL over a new slot by itself", **stored)
        return warn(what, remedy=f"{problem.remedy}; the relay goes back to the WAL by itself then", **stored)
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy, **stored)
    return ok(f"the relay starts after {start}", start=str(start), **stored)


def _polled(facts: Facts, relay: Owner) -> Verdict:
    stored = {
        "snapshot": facts.checkpoint_snapshot,
        "epoch": facts.checkpoint_epoch,
        "stored_at": facts.checkpoint_at,
    }
    if facts.state is None:
        return fail(f"relay {relay.relay!r} has no stored position", remedy="run `relay setup`", **stored)
    if facts.state.snapshot is None:
        return fail(
            "no snapshot is stored: it is not known what was published in terms of the table",
            remedy="let the relay stream for a few seconds with RELAY_SOURCE=wal: it stores one then",
            **stored,
        )
    return ok(f"the relay polls what {facts.state.snapshot} does not see", **stored)


CHECKS = (Check("checkpoint.owner", owner), Check("checkpoint.position", position))
