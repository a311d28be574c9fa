"""Checks of the relay's role: privileges that it lacks, and privileges that it should not have. Pure.

REPLICATION matters most: it gives access to the WAL of the whole cluster, with all databases, and cannot be restricted.
So the relay needs a role of its own, which `sql/roles.sql` creates.
https://www.postgresql.org/docs/current/logical-replication-security.html
"""

from collections.abc import Sequence
from dataclasses import dataclass

from outboxkit.checks.finding import Check, Verdict, fail, ok, unknown, warn
from relay.operating.check.judging.not_needed import NOT_NEEDED
from relay.operating.names import quoted, quoted_table

# A relay has up to nine sessions, its standby four, and a command one or two.
_SESSIONS = 15
_EACH_MORE = 9
_SCHEMAS_OF_SETUP = ("relay", "outbox", "outbox_setup")
_CREATE_IN_PUBLIC = "CREATE on schema public, as PUBLIC has it"
_OWNERSHIP = "ownership of "


@dataclass(frozen=True, slots=True)
class Privilege:
    """A privilege that the relay needs; `held` is None if its object does not exist."""

    kind: str
    object: str
    privilege: str
    purpose: str
    held: bool | None

    @property
    def grant(self) -> str:
        """The GRANT, without the role's name."""
        if self.kind in {"table", "rows"}:
            return f"GRANT {self.privilege} ON {quoted_table(self.object)} TO"
        return f"GRANT {self.privilege} ON {self.kind.upper()} {self.object} TO"


@dataclass(frozen=True, slots=True)
class Role:
    """The role that RELAY_DATABASE_URL connects as."""

    name: str
    superuser: bool
    replication: bool
    create_role: bool
    create_database: bool
    bypass_rls: bool
    connection_limit: int
    member_of: Sequence[str]
    excess: Sequence[str]
    """Privileges that it does not need, as text."""
    privileges: Sequence[Privilege]
    streams: bool
    """Whether a replication connection was made."""
    polls: bool = False
    """Whether it only polls: then REPLICATION is more than it needs."""
    hidden: bool = False
    """Whether the outbox has row-level security: then BYPASSRLS is what a poll needs."""
    relays: int = 1
    """How many relays share the outbox; all may have this role."""

    @property
    def may_stream(self) -> bool:
        """Whether it has REPLICATION, or what a hosted server grants instead."""
        return self.replication or self.superuser or self.streams


def replication(role: Role) -> Verdict:
    """Judge whether the role may stream."""
    if role.polls:
        return ok(NOT_NEEDED.format("polling"), role=role.name)
    if role.replication or role.superuser:
        return ok(f"{role.name} may stream", role=role.name)
    if role.streams:
        return ok(f"{role.name} may stream, by what this server grants instead of REPLICATION", role=role.name)
    return fail(f"role {role.name} lacks REPLICATION", remedy=grant_replication(role), role=role.name)


def grant_replication(role: Role) -> str:
    """Return the remedy for a role that may not stream."""
    return (
        f"as a superuser: ALTER ROLE {quoted(role.name)} REPLICATION; on Amazon RDS: "
        f"GRANT rds_replication TO {quoted(role.name)}; sql/roles.sql does either"
    )


def privileges(role: Role) -> Verdict:
    """Judge whether the role has the privileges that the relay needs."""
    missing = [each for each in role.privileges if each.held is False]
    absent = sorted({each.object for each in role.privileges if each.held is None})
    facts = {
        "missing": [f"{each.privilege} on {each.object}" for each in missing],
        "absent": absent,
    }
    if missing:
        what = ", ".join(f"{each.privilege} on {each.object} (to {each.purpose})" for each in missing)
        grants = "; ".join(f"{each.grant} {quoted(role.name)}" for each in missing)
        return fail(f"role {role.name} lacks {what}", remedy=grants, **facts)
    if absent:
        ours = [each for each in absent if each.partition(".")[0] in _SCHEMAS_OF_SETUP]
        remedy = "run `relay setup`" if ours else "see outbox.table"
        return unknown(f"these do not exist: {', '.join(absent)}", remedy=remedy, **facts)
    return ok(f"{role.name} has the {len(role.privileges)} privileges that it needs", **facts)


def excess(role: Role) -> Verdict:
    """Judge whether the role has more privileges than the relay needs: a stolen password opens all of them."""
    attributes = {
        "SUPERUSER": role.superuser,
        "CREATEROLE": role.create_role and not role.superuser,
        "CREATEDB": role.create_database and not role.superuser,
        "BYPASSRLS": role.bypass_rls and not role.superuser and not role.hidden,
        "REPLICATION": role.polls and role.replication and not role.superuser,
    }
    held = [name for name, has in attributes.items() if has]
    held += [f"membership in {name}" for name in role.member_of] + list(role.excess)
    if held:
        return warn(f"role {role.name} has more than it needs: {', '.join(held)}", remedy=_narrow(held), excess=held)
    return ok(f"{role.name} has {'' if role.polls else 'REPLICATION and '}its grants, and nothing else", excess=[])


def _narrow(held: Sequence[str]) -> str:
    """Return how to remove what is too much. Before PostgreSQL 15, PUBLIC may create objects in schema public."""
    remedies = []
    if any(each.startswith(_OWNERSHIP) for each in held):  # an owner's rights cannot be taken from it
        remedies.append("run the relay as a role of its own, which sql/roles.sql creates")
    elif set(held) != {_CREATE_IN_PUBLIC}:
        remedies.append("remove that from the role, or run the relay as a role of its own, which sql/roles.sql creates")
    if _CREATE_IN_PUBLIC in held:
        remedies.append("REVOKE CREATE ON SCHEMA public FROM PUBLIC, if no other role needs it")
    return "; ".join(remedies)


def connection_limit(role: Role) -> Verdict:
    """Judge whether the relay, those that share its outbox, and its commands may connect at the same time."""
    limit, relays = role.connection_limit, role.relays
    if 0 <= limit < _SESSIONS + _EACH_MORE * (relays - 1) and not role.superuser:
        who = "a relay" if relays == 1 else f"each of {relays} relays"
        apart = "" if relays == 1 else "; or give each relay a role of its own"
        return warn(
            f"role {role.name} may have {limit} sessions; {who} has up to nine, a standby four, a command two",
            remedy=f"as a superuser: ALTER ROLE {quoted(role.name)} CONNECTION LIMIT {10 + 10 * relays}{apart}",
            connection_limit=limit,
        )
    sessions = "as many sessions as the server allows" if limit < 0 else f"{limit} sessions"
    return ok(f"{role.name} may have {sessions}", connection_limit=limit)


CHECKS = (
    Check("role.replication", replication),
    Check("role.privileges", privileges),
    Check("role.excess", excess),
    Check("role.connection_limit", connection_limit),
)
