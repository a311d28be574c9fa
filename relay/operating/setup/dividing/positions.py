"""The positions of a divided outbox: one for each partition, all made together, so that none begins later than another.

A relay takes the position of its partition when it is set up. Until then it waits there, and keeps the events of the
partition in the outbox.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from outboxkit import sql
from relay.core.position import Round, Snapshot
from relay.operating.setup.dividing.fitting import Reader, divided, require_fits
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources.wal.ownership import OtherDatabase, OtherServer, differences

Statement = tuple[str, dict[str, Any]]
"""The name of a query, and its parameters."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the positions of an outbox begin; by default behind everything that is visible when they are made."""

    snapshot: Snapshot | None = None
    streamed: str = "{}"
    round: Round | None = None
    epoch: int = 1
    """Above that of each row whose place is taken, so that whoever wrote such a row cannot store into its successor."""
    recorded: bool = True
    """Whether what was confirmed is recorded, as far as `recorded_since` says."""
    recorded_since: Snapshot | None = None
    """None: from where the positions begin."""
    recorded_besides: str = "{}"

    def parameters(self) -> dict[str, object]:
        """Return it as parameters of sql/queries/partition_positions.sql."""
        of_round = self.round
        return {
            "snapshot": self.snapshot and str(self.snapshot),
            "streamed": self.streamed,
            "round_snapshot": of_round and str(of_round.snapshot),
            "round_seq": of_round and of_round.seq,
            "epoch": self.epoch,
            "recorded": self.recorded,
            "recorded_since": self.recorded_since and str(self.recorded_since),
            "recorded_besides": self.recorded_besides,
        }


def readers(connection: psycopg.Connection[Any], settings: RelaySettings) -> list[Reader]:
    """Return the relays of the outbox, and its partitions that have none."""
    found = connection.execute(sql.query("partition_readers"), {"outboxes": settings.outboxes})
    return [Reader(*row) for row in found]


def require_room(connection: psycopg.Connection[Any], settings: RelaySettings) -> None:
    """Raise NotOurs unless the relay, which has no position, fits beside those that the outbox has.

    The positions of a copied database are no relays of this one, and make no room: where the outbox is divided, or is
    to be, they are removed first.
    """
    there = readers(connection, settings)
    for each in there:
        if not (each.partition.whole and settings.owner.partition.whole):
            problem = elsewhere(connection, settings, each)
            if isinstance(problem, OtherDatabase):
                raise problem
    require_fits(settings.owner, there)


def elsewhere(
    connection: psycopg.Connection[Any], settings: RelaySettings, of: Reader
) -> OtherServer | OtherDatabase | None:
    """Return the problem of a position of another system, by a restore, or database, by a copy; None if it has none."""
    facts = slots.facts(connection, settings.model_copy(update={"name": of.name}))
    found = differences(facts, settings.owner)
    return next((one for one in found if isinstance(one, OtherServer | OtherDatabase)), None)


def vacant_elsewhere(connection: psycopg.Connection[Any], settings: RelaySettings) -> OtherServer | None:
    """Return the problem of a partition without a relay whose position is of another system, or None.

    A relay that took it would be refused by each command but setup. Raises NotOurs if the relay does not fit.
    """
    require_room(connection, settings)
    for each in readers(connection, settings):
        if each.vacant and each.partition == settings.owner.partition:
            problem = elsewhere(connection, settings, each)
            return problem if isinstance(problem, OtherServer) else None
    return None


def replaces(connection: psycopg.Connection[Any], settings: RelaySettings, *, accept_gap: bool) -> bool:
    """Return whether the position of a partition without a relay is replaced by the relay that takes it.

    It is if it is of another system, for an accepted gap. Raises NotOurs if it is and no gap is accepted, and if the
    relay, which has no position, does not fit beside those that the outbox has.
    """
    problem = vacant_elsewhere(connection, settings)
    if problem is not None and not accept_gap:
        raise problem
    return problem is not None


def begun(connection: psycopg.Connection[Any], settings: RelaySettings) -> bool:
    """Return whether the outbox is divided, so that the position of each partition is there."""
    return divided(readers(connection, settings))


def division(settings: RelaySettings, beginning: Beginning, slot: str | None) -> Iterator[Statement]:
    """Yield what makes the positions of an outbox that has none; with one partition, the relay's own."""
    partition = settings.owner.partition
    of: dict[str, Any] = {"outbox": settings.outboxes[0], "partitions": partition.of}
    if not partition.whole:
        yield "partition_set", of
    by = {"name": settings.name, "slot": slot, "by": settings.owner.partitioned_by}
    yield "partition_positions", {**of, **by, **beginning.parameters()}


def taking(settings: RelaySettings, slot: str | None) -> list[Statement]:
    """Return what gives the relay the position of its partition, and then its parked events."""
    of: dict[str, Any] = {"name": settings.name, **settings.owner.partition.parameters()}
    return [
        ("partition_take", {**of, "outbox": settings.outboxes[0], "slot": slot}),
        ("partition_parked", of),
    ]


def take(connection: psycopg.Connection[Any], settings: RelaySettings, beginning: Beginning, slot: str | None) -> bool:
    """Give the relay the position of its partition, after making all of them if they are not there.

    Returns whether it has got it now; raises NotOurs if the outbox was divided otherwise meanwhile.
    """
    with connection.transaction():
        if not begun(connection, settings):
            for statement in division(settings, beginning, slot):
                run(connection, statement)
                require_room(connection, settings)  # another setup may have been first: this one has waited for it
        taken, _ = [run(connection, statement) for statement in taking(settings, slot)]
        if not taken:
            require_room(connection, settings)
        return taken == 1


def plan(
    connection: psycopg.Connection[Any],
    settings: RelaySettings,
    beginning: Beginning,
    slot: str | None,
    *,
    divided: bool,
) -> Iterator[str]:
    """Yield the SQL that `take` would run; `divided` is whether the positions are there."""
    written = psycopg.ClientCursor(connection).mogrify
    for query, parameters in (*([] if divided else division(settings, beginning, slot)), *taking(settings, slot)):
        yield f"{written(sql.query(query), parameters)};"


def run(connection: psycopg.Connection[Any], statement: Statement) -> int:
    """Run `statement`; return how many rows it has changed."""
    query, parameters = statement
    return connection.execute(sql.query(query), parameters).rowcount
