"""The check of the relays that share an outbox: whether each partition has one, and it is active. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from outboxkit.checks.finding import Check, Verdict, fail, ok, unknown, warn
from relay.operating.members import Member, inactive
from relay.storage.facts import Owner


class Members(NamedTuple):
    """The relay, and those that share its outbox, with itself; none if it publishes all events."""

    owner: Owner
    found: Sequence[Member]


def members(of: Members) -> Verdict:
    """Judge whether all partitions of the outbox are published."""
    outbox, found = of.owner.outboxes[0], of.found
    if not found and not of.owner.partition.whole:
        return unknown(
            f"relay {of.owner.relay!r} has no partition yet", remedy="see checkpoint.owner and checkpoint.position"
        )
    if not found:
        return ok(f"the relay publishes all events of {outbox}", partitions=1)
    facts = {"partitions": len(found), "relays": {str(each.partition): _named(each) for each in found}}
    vacant = [each for each in found if each.vacant]
    if vacant:
        free = [f"{each.partition}/{each.partitions}" for each in vacant]
        return fail(
            f"no relay is set up for partition {', '.join(free)} of {outbox}: nobody publishes its events",
            remedy=f"run `relay setup`, then `relay run`, with RELAY_PARTITION={free[0]} and a RELAY_NAME and "
            f"RELAY_SLOT of its own{'; and so for each of the others' if len(free) > 1 else ''}",
            **facts,
        )
    if away := inactive(found, beside=of.owner.relay):
        return warn(
            f"{away}: events wait",
            remedy="start each; its own `relay check` says what keeps it from that",
            **facts,
        )
    return ok(f"each of {len(found)} partitions of {outbox} has a relay", **facts)


def _named(member: Member) -> str | None:
    return None if member.vacant else member.name


CHECKS = (Check("partition.members", members),)
