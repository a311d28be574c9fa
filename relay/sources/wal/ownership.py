"""Whose a slot and a stored position are. Pure: it judges facts that others have asked for.

A position means something only for one system, database, slot, relay and set of outboxes. Whoever opens, sets up, drops
or skips a slot compares all of that first. A name proves nothing: another service may have taken the same default.
"""

from collections.abc import Iterator, Sequence

from relay.core.errors import NotOurs
from relay.core.hashing.partition import Partition
from relay.sources.layout import NATIVE
from relay.storage.facts import Facts, Owner


class OtherOutbox(NotOurs):
    """The stored position is of other tables or message prefixes."""


class OtherPartition(NotOurs):
    """The stored position is of other events of the outbox."""


class OtherSlot(NotOurs):
    """The stored position is of another slot."""


class OtherServer(NotOurs):
    """The stored position is of another system."""


class OtherDatabase(NotOurs):
    """The stored position is of another database of this system."""


def require_slot(facts: Facts, owner: Owner) -> None:
    """Raise NotOurs if the slot exists and belongs to another database, or to another relay."""
    if facts.slot is not None:
        require_database(facts.slot, facts.slot_database, facts.database)
    if facts.other_relay is not None:
        raise NotOurs(
            f"replication slot {owner.slot!r} belongs to relay {facts.other_relay!r} of "
            f"{_named(facts.other_outboxes)}, and this is relay {owner.relay!r} of {_named(owner.outboxes)}",
            remedy=f"if this is the same relay, set RELAY_NAME={facts.other_relay}; otherwise set RELAY_SLOT to "
            "another name, then run `relay setup`",
        )


def require_database(slot: str, slot_database: str | None, database: str) -> None:
    """Raise NotOurs if an existing `slot` does not belong to `database`; a physical slot belongs to none."""
    if slot_database is None:
        raise NotOurs(
            f"replication slot {slot!r} is a physical slot",
            remedy="set RELAY_NAME and RELAY_SLOT to other names, then run `relay setup`",
        )
    if slot_database != database:
        raise NotOurs(
            f"replication slot {slot!r} belongs to database {slot_database!r}, and this is database "
            f"{database!r}: slots of all databases share their names",
            remedy="set RELAY_NAME and RELAY_SLOT to other names, then run `relay setup`; "
            f"or correct RELAY_DATABASE_URL to name {slot_database!r}",
        )


def require_position(facts: Facts, owner: Owner) -> None:
    """Raise NotOurs if the stored position, if there is one, is of another outbox, slot, system or database."""
    for problem in differences(facts, owner):
        raise problem


def differences(facts: Facts, owner: Owner) -> Iterator[NotOurs]:
    """Yield what the stored position is of and this relay is not."""
    if facts.checkpoint_epoch is None:
        return
    if facts.checkpoint_outboxes is not None and set(facts.checkpoint_outboxes) != set(owner.outboxes):
        yield OtherOutbox(
            f"relay {owner.relay!r} with slot {facts.checkpoint_slot!r} belongs to "
            f"{_named(facts.checkpoint_outboxes)}, and this relay is set to {_named(owner.outboxes)}",
            remedy=f"if a setting was lost, set {_setting(facts.checkpoint_outboxes)}; for a second outbox, set "
            "RELAY_NAME and RELAY_SLOT to other names, then run `relay setup`",
        )
    if (stored := facts.partition) != owner.partition:
        yield OtherPartition(
            f"relay {owner.relay!r} publishes {_part(stored)} of {_named(facts.checkpoint_outboxes)}, and "
            f"RELAY_PARTITION is {owner.partition}",
            remedy=_keep(stored) + _divide(owner, stored),
        )
    elif (by := facts.checkpoint_partitioned_by) is not None and [*by] != [*owner.partitioned_by]:
        yield other_columns(owner, by)
    if facts.checkpoint_system != facts.system_identifier:
        yield OtherServer(
            f"the position was stored on system {facts.checkpoint_system}, and this is {facts.system_identifier}: "
            "a dump and restore renumbers transactions and the WAL",
            remedy="after pg_upgrade, which keeps the numbers of transactions, run `relay setup --accept-upgrade`; "
            f"otherwise {anew(owner)}",
        )
    elif facts.checkpoint_database_oid not in {None, facts.database_oid}:
        yield OtherDatabase(
            f"the position was stored in database {facts.checkpoint_database!r}, and {facts.database!r} is "
            "a copy of it",
            remedy=f"set RELAY_NAME and RELAY_SLOT to other names, {_removed(facts, owner)}then run `relay setup`",
        )
    if facts.checkpoint_slot not in {None, owner.slot}:
        yield OtherSlot(
            f"relay {owner.relay!r} has replication slot {facts.checkpoint_slot!r}, and RELAY_SLOT is {owner.slot!r}",
            remedy=f"set RELAY_SLOT={facts.checkpoint_slot}; for a second relay, set RELAY_NAME to another name too, "
            "then run `relay setup`",
        )


def other_columns(owner: Owner, by: Sequence[str]) -> OtherPartition:
    """Return the problem of a relay that hashes other columns than those `by` which the outbox is divided."""
    fields = ("aggregate_type", "aggregate_id")
    columns = ", ".join(f'"{field}": "{column}"' for field, column in zip(fields, by, strict=True))
    return OtherPartition(
        f"{_named(owner.outboxes)} is divided by its columns {', '.join(by)}, and relay {owner.relay!r} is set to "
        f"{', '.join(owner.partitioned_by)}: each of its relays must find an event in the same partition",
        remedy=f"set RELAY_OUTBOX_COLUMNS='{{{columns}}}', as for the other relays; to divide the outbox by other "
        "columns, make it whole first, as docs/partitions.md says",
    )


def compare(owner: Owner) -> str:
    """Return the part of a remedy that names what an operator compares before a gap is accepted."""
    record = owner.table or "the application's own data"
    return f"compare {record} with what consumers received"


def anew(owner: Owner) -> str:
    """Return the remedy of a position whose numbers are another server's, for either source."""
    return f"{compare(owner)}, then run `relay setup --accept-gap` to go on from a position of this server"


def gap(owner: Owner, then: str) -> str:
    """Return the remedy of a gap on the server that the position is of; `then` says from where the relay goes on.

    An audit finds what the gap left out, since what was confirmed is recorded independently of positions.
    """
    if owner.table == NATIVE.name:
        return (
            f"run `relay setup --accept-gap` to {then}, and start the relay; then `relay audit --since 7d` names what "
            "nobody published, and with --repair it publishes that"
        )
    return f"{compare(owner)}, then run `relay setup --accept-gap` to {then}"


def _removed(facts: Facts, owner: Owner) -> str:
    """Return what is done about a copy's positions where the outbox is divided, or is to be: no names avoid them.

    Only relays that publish all events may be beside each other.
    """
    if facts.partition.whole and owner.partition.whole:
        return ""
    outbox = (facts.checkpoint_outboxes or owner.outboxes)[0].replace("'", "''")
    run = f"run in database {facts.database!r} "
    if facts.partition.whole:
        copied = f"'{outbox}' = ANY (outboxes) AND database_oid = {facts.checkpoint_database_oid}"
        return f"{run}DELETE FROM relay.checkpoint WHERE {copied}; "  # noqa: S608 - a remedy
    return (
        f"{run}BEGIN; DELETE FROM relay.checkpoint WHERE partitioned = '{outbox}'; "  # noqa: S608 - a remedy
        f"DELETE FROM relay.partitioned WHERE outbox = '{outbox}'; COMMIT; "
    )


def _part(stored: Partition) -> str:
    return "all events" if stored.whole else f"partition {stored}"


def _keep(stored: Partition) -> str:
    return "unset RELAY_PARTITION" if stored.whole else f"set RELAY_PARTITION={stored}"


def _divide(owner: Owner, stored: Partition) -> str:
    if stored.of == owner.partition.of:
        return "; for another partition, set RELAY_NAME and RELAY_SLOT to other names too, then run `relay setup`"
    stop = "this relay" if stored.whole else f"all {stored.of} relays of the outbox"
    return f"; to divide the outbox anew, stop {stop}, then run `relay setup --take-over {owner.relay}`"


def _named(outboxes: Sequence[str] | None) -> str:
    return "an unknown outbox" if outboxes is None else ", ".join(outboxes)


def _setting(outboxes: Sequence[str]) -> str:
    settings = (
        f"RELAY_MESSAGE_PREFIX={each.removeprefix('message:')}"
        if each.startswith("message:")
        else f"RELAY_OUTBOX_TABLE={each}"
        for each in outboxes
    )
    return " and ".join(settings)
