"""Whether a relay that has no position yet fits beside those that an outbox has. Pure.

An outbox is divided once: its relays have the same number of partitions, and each partition has one relay. The
database holds that (sql/schema/020_partitions.sql); here it is said first, with what to do. A relay of all events
beside relays of partitions would publish each event once more, or leave a gap if it was meant to take their place.
"""

from collections.abc import Sequence
from typing import NamedTuple

from relay.core.errors import NotOurs
from relay.core.hashing.partition import Partition
from relay.sources.wal.ownership import other_columns
from relay.storage.facts import Owner


class Reader(NamedTuple):
    """A row of sql/queries/partition_readers.sql: a relay of an outbox, or a partition that has none."""

    name: str
    slot: str | None
    number: int
    of: int
    vacant: bool
    by: Sequence[str] | None = None
    """The columns by which the outbox is divided."""

    @property
    def partition(self) -> Partition:
        """Which events it publishes."""
        return Partition(self.number, self.of)


def divided(readers: Sequence[Reader]) -> bool:
    """Return whether the outbox is divided into partitions."""
    return any(not each.partition.whole for each in readers)


def require_fits(owner: Owner, readers: Sequence[Reader]) -> None:
    """Raise NotOurs unless `owner`, which has no position, fits beside `readers`, with both sides and what to do."""
    members = [each for each in readers if not each.partition.whole]
    whole = [each for each in readers if each.partition.whole]
    if members and members[0].of != owner.partition.of:
        raise _otherwise(owner, members)
    if members and members[0].by is not None and [*members[0].by] != [*owner.partitioned_by]:
        raise other_columns(owner, members[0].by)
    if not owner.partition.whole and not members and whole:
        raise _whole(owner, whole)
    for each in members:
        if each.number == owner.partition.number and not each.vacant and each.name != owner.relay:
            raise _taken(owner, each, members)


def unnoted(slot: str) -> NotOurs:
    """Return the problem of a slot that exists, and that no relay has noted as its own."""
    return NotOurs(
        f"replication slot {slot!r} exists, and no relay has noted it; this relay begins by polling, and goes on from "
        "a slot that is made after that",
        remedy="set RELAY_SLOT to another name; or, if nobody reads this slot, run `relay slot drop`, then this again, "
        "with --from start if the table may have events that were not published",
    )


def _otherwise(owner: Owner, members: Sequence[Reader]) -> NotOurs:
    outbox, of = owner.outboxes[0], members[0].of
    relays = [each.name for each in members if not each.vacant]
    is_set = "is set to publish all of it" if owner.partition.whole else f"has RELAY_PARTITION={owner.partition}"
    free = [each.partition for each in members if each.vacant]
    join = f"to publish a part that nobody does, set RELAY_PARTITION={free[0]}; " if free else ""
    return NotOurs(
        f"{outbox} is divided into {of} partitions (relay {_listed(relays)}), and relay {owner.relay!r} {is_set}",
        remedy=f"{join}to change the number, stop all its relays, then run `relay setup --take-over '{_one(members)}'`",
    )


def _whole(owner: Owner, whole: Sequence[Reader]) -> NotOurs:
    names = [each.name for each in whole]
    return NotOurs(
        f"relay {_listed(names)} publishes all events of {owner.outboxes[0]}, and relay {owner.relay!r} has "
        f"RELAY_PARTITION={owner.partition}",
        remedy=f"stop the relay whose place the partitions take, then run `relay setup --take-over '{names[0]}'`",
    )


def _taken(owner: Owner, by: Reader, members: Sequence[Reader]) -> NotOurs:
    free = [str(each.partition) for each in members if each.vacant]
    other = f"or set RELAY_PARTITION to one that has no relay: {', '.join(free)}" if free else "every partition has one"
    slot = "" if by.slot is None else f" and RELAY_SLOT={by.slot}"
    return NotOurs(
        f"partition {by.partition} of {owner.outboxes[0]} has relay {by.name!r}, and this is relay {owner.relay!r}",
        remedy=f"if this is the same relay, set RELAY_NAME={by.name}{slot}; {other}",
    )


def _one(members: Sequence[Reader]) -> str:
    return next((each.name for each in members if not each.vacant), members[0].name)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
