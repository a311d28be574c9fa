"""What is checked of the relay's role: rights that are missing, and rights that it should not have. Pure.

REPLICATION is the one that matters most: it opens the WAL of the whole cluster, every database of it, to whoever has
it. That cannot be narrowed, so the role has to be for the relay alone. `sql/roles.sql` makes it so.
https://www.postgresql.org/docs/current/logical-replication-security.html
"""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.operating.check.finding import Check, Verdict, fail, ok, unknown, warn

# A relay keeps two sessions, and its commands one or two more.
_SESSIONS = 4


@dataclass(frozen=True, slots=True)
class Privilege:
    """A right that the relay needs; `held` is None where its object is not there."""

    kind: str
    object: str
    privilege: str
    purpose: str
    held: bool | None

    @property
    def grant(self) -> str:
        """The SQL that gives it, but for the role's name."""
        kind = "" if self.kind == "table" else f"{self.kind.upper()} "
        return f"GRANT {self.privilege} ON {kind}{self.object} TO"


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
    """What it may do beyond its task, in words."""
    privileges: Sequence[Privilege]
    streams: bool
    """Whether a replication connection was made."""

    @property
    def may_stream(self) -> bool:
        """Whether it has REPLICATION, or whatever a hosted server has in its place."""
        return self.replication or self.superuser or self.streams


def replication(role: Role) -> Verdict:
    """Judge whether the role may stream."""
    if role.replication or role.superuser:
        return ok(f"{role.name} may stream", role=role.name)
    if role.streams:
        return ok(f"{role.name} may stream, by a right that this server has in place of REPLICATION", role=role.name)
    return fail(
        f"role {role.name} lacks REPLICATION",
        remedy=grant_replication(role),
        role=role.name,
    )


def grant_replication(role: Role) -> str:
    """Return what to do for a role that may not stream."""
    return f"ALTER ROLE {role.name} REPLICATION; see sql/roles.sql"


def privileges(role: Role) -> Verdict:
    """Judge whether the role may read and write what the relay needs."""
    missing = [each for each in role.privileges if each.held is False]
    absent = sorted({each.object for each in role.privileges if each.held is None})
    facts = {
        "missing": [f"{each.privilege} on {each.object}" for each in missing],
        "absent": absent,
    }
    if missing:
        what = ", ".join(f"{each.privilege} on {each.object} (to {each.purpose})" for each in missing)
        grants = "; ".join(f"{each.grant} {role.name}" for each in missing)
        return fail(f"role {role.name} lacks {what}", remedy=grants, **facts)
    if absent:
        return unknown(f"these are not there: {', '.join(absent)}", remedy="run `relay setup`", **facts)
    return ok(f"{role.name} has the {len(role.privileges)} privileges that it needs", **facts)


def excess(role: Role) -> Verdict:
    """Judge whether whoever steals the relay's password gets more than the relay needs."""
    attributes = {
        "SUPERUSER": role.superuser,
        "CREATEROLE": role.create_role and not role.superuser,
        "CREATEDB": role.create_database and not role.superuser,
        "BYPASSRLS": role.bypass_rls and not role.superuser,
    }
    held = [name for name, has in attributes.items() if has]
    held += [f"membership in {name}" for name in role.member_of] + list(role.excess)
    if held:
        return warn(
            f"role {role.name} has more than it needs: {', '.join(held)}",
            remedy="run the relay as a role of its own: sql/roles.sql makes it",
            excess=held,
        )
    return ok(f"{role.name} has REPLICATION and its grants, and nothing else", excess=[])


def connection_limit(role: Role) -> Verdict:
    """Judge whether the relay and its commands may connect at the same time."""
    limit = role.connection_limit
    if 0 <= limit < _SESSIONS and not role.superuser:
        return warn(
            f"role {role.name} may have {limit} sessions; a relay has two, its standby two, a command one or two more",
            remedy=f"ALTER ROLE {role.name} CONNECTION LIMIT 10",
            connection_limit=limit,
        )
    told = "as many sessions as the server takes" if limit < 0 else f"{limit} sessions"
    return ok(f"{role.name} may have {told}", connection_limit=limit)


CHECKS = (
    Check("role.replication", replication),
    Check("role.privileges", privileges),
    Check("role.excess", excess),
    Check("role.connection_limit", connection_limit),
)
