"""The check of the relays that share an outbox: whether each partition has one, and it is active. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from outboxkit.checks.finding import Check, Verdict, fail, ok, unknown, warn
from relay.operating.members import Member
from relay.storage.facts import Owner


class Members(NamedTuple):
    """The relay, and those that share its outbox, with itself; none if it publishes all events."""

    owner: Owner
    found: Sequence[Member]


def members(of: Members) -> Verdict:
    """Judge whether all partitions of the outbox are published."""
    outbox, found = of.owner.outboxes[0], of.found
    if not found and not of.owner.partition.whole:
        return unknown(f"relay {of.owner.relay!r} has no partition yet", remedy="see checkpoint.position")
    if not found:
        return ok(f"the relay publishes all events of {outbox}", partitions=1)
    facts = {"partitions": len(found), "relays": {str(each.partition): _named(each) for each in found}}
    vacant = [each for each in found if each.vacant]
    if vacant:
        free = ", ".join(f"{each.partition}/{each.partitions}" for each in vacant)
        return fail(
            f"no relay is set up for partition {free} of {outbox}: nobody publishes its events",
            remedy=f"for each, with RELAY_PARTITION={vacant[0].partition}/{vacant[0].partitions} or the like, and a "
            "RELAY_NAME and RELAY_SLOT of its own: run `relay setup`, then `relay run`",
            **facts,
        )
    away = [each for each in found if not each.active and each.name != of.owner.relay]
    if away:
        return warn(
            f"relay {', '.join(map(str, away))} is not active: the events of its partition wait",
            remedy="start it; its own `relay check` says what keeps it from that",
            **facts,
        )
    return ok(f"each of {len(found)} partitions of {outbox} has a relay", **facts)


def _named(member: Member) -> str | None:
    return None if member.vacant else member.name


CHECKS = (Check("partition.members", members),)
