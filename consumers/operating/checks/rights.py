"""The check of what the consumers' role may do: each missing right with the GRANT that gives it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from consumers.postgres.refusals import SET_UP
from outboxkit.checks.finding import Check, Verdict, fail, ok, unknown


@dataclass(frozen=True, slots=True)
class Right:
    """A right that a consumer needs; `held` is None if its object does not exist."""

    privilege: str
    object: str
    held: bool | None


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of a role."""

    role: str
    rights: Sequence[Right]


def privileges(found: Rights) -> Verdict:
    """Judge whether the role has every right that it needs."""
    missing = [each for each in found.rights if each.held is False]
    absent = [each.object for each in found.rights if each.held is None]
    facts = {"missing": [f"{each.privilege} ON {each.object}" for each in missing], "absent": absent}
    role = found.role.replace('"', '""')
    if missing:
        grants = "; ".join(f'GRANT {each.privilege} ON {each.object} TO "{role}"' for each in missing)
        return fail(
            f"role {found.role} lacks {len(missing)} of {len(found.rights)} rights",
            remedy=f"as the schema's owner: {grants}",
            **facts,
        )
    if absent:
        return unknown(f"these do not exist: {', '.join(absent)}", remedy=SET_UP, **facts)
    return ok(f"{found.role} has the {len(found.rights)} rights that it needs", **facts)


CHECKS = (Check("postgres.privileges", privileges),)
