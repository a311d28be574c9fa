"""What `relay setup` is going to do about slot and position: decided once, for what it does and for what it prints.

deciding.py says what is done about a slot and a stored position; here is added what the table allows. Nothing is
changed here.
"""

from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from outboxkit import sql
from outboxkit.errors import Problem
from outboxkit.sql.restoring import present
from relay.core.errors import SourceRefused, WalNotLogical
from relay.operating import outbox
from relay.operating.setup import deciding, extra
from relay.operating.setup.beginning import From
from relay.operating.setup.deciding import Decision, decide, polls_on
from relay.operating.setup.dividing import positions
from relay.operating.setup.dividing.fitting import unnoted
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources.layout import NATIVE
from relay.sources.wal.decoders import wal2json
from relay.sources.wal.ownership import require_database
from relay.storage.facts import Facts, TableFacts
from relay.storage.sessions.refusals import check_failover, check_wal_level


@dataclass(frozen=True, slots=True)
class Intended:
    """What is done about slot and position: decided once, for `setup` and for what `--dry-run` prints."""

    slot: Literal["keep", "create", "drop and create"]
    plugin: str
    pollable: bool
    begins: bool
    """Whether a relay begins by polling: then its first snapshot is stored before its slot is made.

    From now, one with a slot that is there already begins where that stands.
    """
    set_position: bool
    """Whether the stored position becomes the slot's: also where the relay takes its partition's in the same run, and a
    gap was accepted."""


def intend(  # noqa: PLR0913 - what it is decided by
    connection: psycopg.Connection[Any],
    settings: RelaySettings,
    facts: Facts | None,
    table: TableFacts,
    *,
    own: bool = False,
    accept_gap: bool,
    start: From,
) -> Intended:
    """Return what is done, and change nothing; raises SourceRefused, with a remedy, for what must not be done.

    `table` is as it will be before that, or not there yet if it is our `own`, and made first. A schema that is older,
    or missing, gives no `facts`: it does not tell whose a slot is, so the slot is kept.
    """
    pollable = settings.source == "auto" if own else outbox.pollable(table, settings)
    stored = known(connection, settings)
    replaced = False
    if facts is None:
        found = slots.find(connection, settings.slot)
        if found is not None:
            require_database(found.name, found.database, connection.info.dbname)
        decision = Decision("create" if found is None else "keep", set_position=not stored)
        plugin = None if found is None else found.plugin
    else:
        if not stored:
            replaced = positions.replaces(connection, settings, accept_gap=accept_gap)
        decision = decide(facts, settings.owner, plugin=settings.plugin, accept_gap=accept_gap, pollable=pollable)
        plugin = facts.plugin
    if decision.slot != "keep":
        plugin = outbox.preferred(table, settings) if not own else _first(settings)
    if not own:
        outbox.require(table, settings, str(plugin))
    part = not (stored or settings.owner.partition.whole)
    if part and not own:
        outbox.require_pollable(table, settings)
    if part and decision.slot == "keep":
        raise unnoted(settings.slot)
    begins = decision.set_position and (decision.slot != "keep" or start == "start") and pollable and not stored
    if not stored and start == "start" and not begins:
        outbox.require_pollable(table, settings)
        raise SourceRefused(
            "no slot has what was committed before it was made, and RELAY_SOURCE=wal reads nothing else",
            remedy="run `relay setup --from start` with RELAY_SOURCE=auto, which polls the table first",
        )
    set_position = decision.set_position and (not begins or replaced)
    return Intended(decision.slot, str(plugin), pollable, begins, set_position)


def replaces(connection: psycopg.Connection[Any], settings: RelaySettings, facts: Facts, *, accept_gap: bool) -> bool:
    """Return whether a relay that only polls goes on from now, in place of its position or of its partition's.

    Raises SourceRefused, with a remedy, for what must not be done.
    """
    if facts.state is not None:
        return deciding.replaces(facts, settings.owner, accept_gap=accept_gap)
    return positions.replaces(connection, settings, accept_gap=accept_gap)


def _first(settings: RelaySettings) -> str:
    return wal2json.PLUGIN if settings.plugin == "auto" else settings.plugin


def goes_on(settings: RelaySettings, facts: Facts | None, found: TableFacts) -> bool:
    """Return whether `relay run` polls the table from the stored position while it cannot read the WAL."""
    if settings.source != "auto" or facts is None:
        return False
    return polls_on(facts, settings.owner, pollable=outbox.pollable(found, settings))


def polls(settings: RelaySettings, problem: Problem) -> str:
    """Return the line about a slot that `problem` keeps from being made, while the relay polls."""
    return (
        f"slot: not made now: {problem.what}; the relay polls {settings.table} from the stored position until the WAL "
        f"can be read: {problem.remedy}"
    )


def known(connection: psycopg.Connection[Any], settings: RelaySettings) -> bool:
    """Return whether the relay has a stored position; a schema that is older, or missing, may not tell."""
    if not present(connection, ["relay"]):
        return False
    return connection.execute(sql.query("checkpoint_exists"), {"name": settings.name}).fetchone() == (True,)


def require_wal(
    connection: psycopg.Connection[Any], settings: RelaySettings, extras: extra.Extras = extra.NOTHING
) -> WalNotLogical | None:
    """Return why the WAL cannot be streamed, or None; raises it where no stored position says from where to poll.

    Raises SourceRefused if the server has no slots of the kind asked for. Polling needs neither.
    """
    if settings.source == "polling":
        return None
    check_failover(connection.info.server_version, wanted=settings.slot_failover)
    row = connection.execute(sql.query("wal_level")).fetchone()
    assert row is not None  # noqa: S101 - the query always returns one row
    try:
        check_wal_level(row[0])
    except WalNotLogical as problem:
        if settings.source == "wal":
            raise
        if known(connection, settings):
            return problem
        found = outbox.facts(connection, settings)
        own = found.kind is None and settings.table == NATIVE.name
        if not own and not outbox.pollable(extra.then(found, extras), settings):
            raise
        remedy = f"{problem.remedy}; or set RELAY_SOURCE=polling, which reads the table and needs no logical WAL"
        raise WalNotLogical(problem.what, remedy=remedy) from problem
    return None
