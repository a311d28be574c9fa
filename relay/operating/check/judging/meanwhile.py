"""What keeps a relay from the WAL is a warning, and no failure, where it polls the table meanwhile. Pure.

`relay run` judges so too: relay/sources/handover/handover.py. What ends it in either case stays a failure: a slot or a
position of somebody else, a table that no plugin can read, a connection pooler.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from outboxkit.checks.finding import Finding, Status, Unknown
from relay.operating.check.judging.postgres.connection import PostgresConnection
from relay.operating.check.judging.postgres.role import Role
from relay.operating.check.judging.relay.position import Position

_BACK = "; the relay goes back to the WAL by itself then"
_BY_ITSELF = "none is needed: the relay makes a new slot, and goes back to the WAL by itself"
_KEEPS_FROM_THE_WAL = {
    "postgres.wal_level": None,
    "postgres.plugin_listed": None,
    "postgres.plugin_works": None,
    "postgres.free_slots": None,
    "postgres.long_transactions": None,
    "role.replication": None,
    "slot.exists": _BY_ITSELF,
    "slot.purpose": None,
    "slot.wal_status": None,
    "slot.safe_wal_size": None,
}
"""The checks of what the relay polls without, and a remedy in place of theirs."""
_CONNECTING = ("postgres.replication", "postgres.free_senders")


def eased(
    findings: Sequence[Finding],
    position: Position | Unknown,
    role: Role | Unknown,
    connection: PostgresConnection | Unknown,
) -> Iterator[Finding]:
    """Return `findings` as they count for a relay that goes on from its stored position by either source."""
    if isinstance(position, Unknown) or not position.either or not _own_session(connection):
        yield from findings
        return
    remedies = dict(_KEEPS_FROM_THE_WAL)
    lacks = isinstance(role, Role) and not role.may_stream
    if lacks or position.facts.checkpoint_mode == "polling":  # one that streams tries again where it cannot connect
        remedies |= dict.fromkeys(_CONNECTING)
    if position.facts.wal_status == "lost":
        remedies["slot.wal_status"] = remedies["slot.safe_wal_size"] = _BY_ITSELF
    for finding in findings:
        if finding.status is not Status.FAIL or finding.id not in remedies or finding.facts.get("temporary"):
            yield finding
            continue
        remedy = remedies[finding.id] or f"{finding.remedy}{_BACK}"
        summary = f"{finding.summary}; the relay polls the table meanwhile"
        yield replace(finding, status=Status.WARN, summary=summary, remedy=remedy)


def _own_session(connection: PostgresConnection | Unknown) -> bool:
    """Return whether a poll is not refused for a pooler."""
    return isinstance(connection, PostgresConnection) and not connection.pooled
