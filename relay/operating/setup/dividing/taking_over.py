"""A relay, with those that share its outbox from then on, takes the place of others: `relay setup --take-over NAME`.

So an outbox is divided, divided otherwise, or made whole again, with nothing missed:

    Each of the old relays says which transactions it has published: those that its snapshot S sees, and those in K
    (relay/sources/handover/handover.py). It says so of the events of its partition only. A transaction that all of them
    name is published as a whole. No other one counts: what some of them have published of it is published again, under
    its own ids.

All of the old relays have stopped, and none begins meanwhile: this transaction has their locks. It removes their rows,
and makes the new ones, at that position and with a higher epoch. Whoever wrote an old row, and wakes later, finds it
gone, or finds another epoch in a row of the same name, and stores nothing.

Slots are not taken over: each new relay polls from its position, and goes over to a slot of its own, as at any first
start (relay/sources/handover/handover.py). The old slots are dropped as the last step. If that is done and the
transaction fails all the same, the old relays poll from their own rows.

Whoever replaces the others inherits what is stored of them beside their positions: records of confirms, parked events,
positions of the past, and replays. Each relay of an outbox audits and replays all of it, so it does not matter which;
the parked events of a partition go on to its relay when that is set up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psycopg
from psycopg.rows import class_row, scalar_row

from outboxkit import sql
from relay.core.errors import AnotherLeads, NotOurs, PositionLost, SourceRefused
from relay.core.position import Round, Snapshot
from relay.core.transactions import Transactions
from relay.operating import outbox
from relay.operating.setup.dividing import positions
from relay.operating.setup.dividing.fitting import Reader, unnoted
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources.wal.ownership import OtherDatabase, require_slot


@dataclass(frozen=True, slots=True)
class Merged:
    """What some relays have published, each of them: the columns of sql/queries/partition_merge.sql."""

    names: list[str]
    relays: list[str]
    """Those of `names` that are relays; the others stand for partitions that have none."""
    slots: list[str]
    outboxes: list[str] | None
    partitions: int
    epoch: int
    here: bool
    """Whether all positions are of this server and this database."""
    unknown: list[str]
    """Those of which it is not known what they have published in terms of the table."""
    seen: str
    streamed: str
    round_snapshot: str | None
    round_seq: int | None
    recorded: bool
    recorded_since: str | None
    recorded_besides: str

    @property
    def beginning(self) -> positions.Beginning:
        """Where whoever takes their place begins."""
        of_round = None
        if self.round_snapshot is not None and self.round_seq is not None:
            of_round = Round(Snapshot.parse(self.round_snapshot), self.round_seq)
        return positions.Beginning(
            sees(Transactions.parse(self.seen)),
            self.streamed,
            of_round,
            epoch=self.epoch + 1,
            recorded=self.recorded,
            recorded_since=Snapshot.parse(self.recorded_since) if self.recorded and self.recorded_since else None,
            recorded_besides=self.recorded_besides,
        )


def sees(transactions: Transactions) -> Snapshot:
    """Return the snapshot that sees exactly `transactions`, which begin at 0."""
    ranges = [*transactions.ranges()]
    xmax = ranges[-1][1]
    running = tuple(each for (_, end), (start, _) in pairwise(ranges) for each in range(end, start))
    return Snapshot(running[0] if running else xmax, xmax, running)


def take_over(connection: psycopg.Connection[Any], settings: RelaySettings, name: str) -> str:
    """Let the relay begin where relay `name`, and those that share its outbox, have stopped; return a line.

    Changes nothing if that is done; raises SourceRefused if it cannot be.
    """
    owner = settings.owner
    with connection.transaction():
        found = merged(connection, name)
        if done(connection, settings, name, found):
            return f"take-over: {_done_before(settings, name, found)}; nothing was changed"
        assert found is not None  # noqa: S101 - it would be done, or refused
        require_taken_over(connection, settings, found)
        changed = {each[0]: positions.run(connection, each) for each in replacing(settings, found)}
        if (changed["partition_positions"], changed.get("partition_take", 1)) != (owner.partition.of, 1):
            raise PositionLost("another setup has made positions at the same time", remedy="run this again")
        _drop(connection, found)
    begins = "the relay" if owner.partition.whole else f"each of {owner.partition.of} partitions"
    return f"take-over: {begins} begins where {', '.join(map(repr, found.relays))} stopped, and polls from there"


def plan(connection: psycopg.Connection[Any], settings: RelaySettings, name: str) -> Iterator[str]:
    """Yield the SQL that `take_over` would run; raises what it would raise."""
    written = psycopg.ClientCursor(connection).mogrify
    with connection.transaction(force_rollback=True):  # locks are taken, and given back
        found = merged(connection, name)
        if done(connection, settings, name, found) or found is None:
            return
        require_taken_over(connection, settings, found)
        for query, parameters in replacing(settings, found):
            yield f"{written(sql.query(query), parameters)};"
        for slot in found.slots:
            yield f"{written(sql.query('slot_drop'), {'slot': slot})};"


def merged(connection: psycopg.Connection[Any], name: str) -> Merged | None:
    """Return what relay `name`, and those that share its outbox, have published; None if there is no such relay."""
    cursor = connection.cursor(row_factory=class_row(Merged))
    return cursor.execute(sql.query("partition_merge"), {"name": name}).fetchone()


def done(connection: psycopg.Connection[Any], settings: RelaySettings, name: str, found: Merged | None) -> bool:
    """Return whether the place of relay `name` was taken before; raises NotOurs if there is nothing to take."""
    partition = settings.owner.partition
    if found is not None:
        if found.outboxes != settings.outboxes:
            return False  # which is refused, with the reason
        if found.partitions == partition.of == 1 and name != settings.name:
            raise NotOurs(
                f"relay {name!r} publishes all events already",
                remedy=f"set RELAY_NAME={name}; or rename it, as docs/operations.md says",
            )
        return found.partitions == partition.of
    there = positions.readers(connection, settings)
    if any(each.of == partition.of and (not partition.whole or each.name == settings.name) for each in there):
        return True
    names = ", ".join(repr(each.name) for each in there if not each.vacant)
    raise NotOurs(
        f"there is no relay {name!r} whose place could be taken",
        remedy=f"name one of those that {settings.outboxes[0]} has: {names}"
        if names
        else "run `relay setup` without --take-over",
    )


def require_taken_over(connection: psycopg.Connection[Any], settings: RelaySettings, found: Merged) -> None:
    """Raise a Problem unless the place of the relays that were `found` can be taken; their locks are taken here."""
    if settings.source == "wal":
        raise SourceRefused(
            "RELAY_SOURCE is wal, and whoever takes the place of others polls first",
            remedy="set RELAY_SOURCE=auto; once `relay status` says mode wal, it may be wal again",
        )
    outbox.require_pollable(outbox.facts(connection, settings), settings)
    if found.outboxes is None:
        raise NotOurs(
            f"relay {found.names[0]!r} has not noted which outbox it reads: an older version has stored its position",
            remedy="start it once with this version, and stop it; then run this again",
        )
    if found.outboxes != settings.outboxes:
        raise NotOurs(
            f"relay {found.names[0]!r} belongs to {', '.join(found.outboxes)}, and this relay is set to "
            f"{settings.outboxes[0]}",
            remedy=f"name a relay of {settings.outboxes[0]}, or correct RELAY_OUTBOX_TABLE",
        )
    if not found.here:
        raise _elsewhere(connection, settings, found)
    for each in found.unknown:
        raise SourceRefused(
            f"it is not known what relay {each!r} has published in terms of the table",
            remedy=f"let relay {each!r} stream for a few seconds, which stores a snapshot; stop it, and run this again",
        )
    if settings.name not in found.names and slots.checkpoint(connection, settings.name) is not None:
        raise NotOurs(
            f"relay {settings.name!r} has a position of its own already",
            remedy="set RELAY_NAME and RELAY_SLOT to other names",
        )
    _require_slot(connection, settings, found)
    scalars = connection.cursor(row_factory=scalar_row)
    for each in found.relays:
        if not scalars.execute(sql.query("partition_lock"), {"name": each}).fetchone():
            raise AnotherLeads(
                f"relay {each!r} is active, and its place cannot be taken",
                remedy=f"stop every process of relay {each!r}, its standbys too, and run this again",
            )


def _elsewhere(connection: psycopg.Connection[Any], settings: RelaySettings, found: Merged) -> NotOurs:
    """Return the problem of positions that are not all of this server and this database.

    Whether numbers of transactions are kept, as by pg_upgrade, or not, as by a dump and restore, `relay setup` asks for
    each position. The relays come first: after pg_upgrade, partitions that have none go on with them.
    """
    elsewhere: list[Reader] = []
    for each in positions.readers(connection, settings):
        problem = positions.elsewhere(connection, settings, each) if each.name in found.names else None
        if isinstance(problem, OtherDatabase):
            return problem
        elsewhere += [] if problem is None else [each]
    relays = ", ".join(repr(each.name) for each in elsewhere if not each.vacant)
    vacant = ", ".join(str(each.partition) for each in elsewhere)
    which = (
        f"with the settings of each of these relays: {relays}"
        if relays
        else "for each of these partitions, which have no relay, with a RELAY_NAME and a RELAY_SLOT of its own: "
        + ", ".join(f"RELAY_PARTITION={each.partition}" for each in elsewhere)
    )
    return NotOurs(
        f"the position of a {'relay' if relays else 'partition'} was stored on another server: {relays or vacant}",
        remedy=f"run `relay setup` {which}; it says what to do; when that is done, run this again",
    )


def _done_before(settings: RelaySettings, name: str, found: Merged | None) -> str:
    if found is None:
        return f"relay {name!r} was taken over before"
    partition, outbox_name = settings.owner.partition, settings.outboxes[0]
    has = f"relay {name!r} publishes all events" if partition.whole else f"{outbox_name} has {partition.of} partitions"
    return f"{has} already"


def _require_slot(connection: psycopg.Connection[Any], settings: RelaySettings, found: Merged) -> None:
    """Raise NotOurs if the slot exists, and is none of those of the relays that were `found`."""
    if settings.source == "polling" or settings.slot in found.slots:
        return
    facts = slots.facts(connection, settings)
    require_slot(facts, settings.owner)
    if facts.slot is not None:
        raise unnoted(settings.slot)


def replacing(settings: RelaySettings, found: Merged) -> list[positions.Statement]:
    """Return what puts the relay, and the partitions beside it, in the place of those that were `found`."""
    names: dict[str, Any] = {"name": settings.name, "names": found.names}
    slot = None if settings.source == "polling" else settings.slot
    statements = [
        ("partition_remove", names),
        *positions.division(settings, found.beginning, slot),
        ("partition_inherit", names),
    ]
    if not settings.owner.partition.whole:
        statements += positions.taking(settings, slot)
    return statements


def _drop(connection: psycopg.Connection[Any], found: Merged) -> None:
    """Drop the slots of the relays that are gone: nobody would read them, and they would keep WAL without end.

    A slot that is dropped is gone whether the transaction commits or not; without it, the old relays would poll.
    """
    for name in found.slots:
        slot = slots.find(connection, name)
        if slot is not None and slot.database == connection.info.dbname:
            slots.require_free(slot, remedy="stop it, and run this again")
            slots.drop(connection, name)
