"""Lets the owner of our schemas make everything in them, whichever role runs setup: then one role may change it all."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from outboxkit import sql
from outboxkit.errors import Problem


class NotOwner(Problem):
    """The connected role may not change what another role made."""


class MayNotCreate(Problem):
    """The role may not create schemas in this database."""


@dataclass(frozen=True, slots=True)
class _Owned:
    object: str
    owner: str
    ours: bool


@contextmanager
def acting(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> Iterator[None]:
    """Act as the owner of `schemas` until the caller's transaction ends.

    Raises NotOwner if the connected role is not a member of the owner, and MayNotCreate for what is refused to it.
    """
    rows = connection.cursor(row_factory=class_row(_Owned))
    owned = rows.execute(sql.query("schema_owners"), {"schemas": list(schemas)}).fetchall()
    me, database = _role(connection)
    for each in owned:
        if not each.ours:
            raise NotOwner(
                f"{each.object} belongs to role {each.owner}, and {me} may not change it",
                remedy=f"run it as {each.owner}; or, as a superuser: "
                f"GRANT {_quoted(each.owner)} TO {_quoted(me)}, then run it again",
            )
    owners = {each.owner for each in owned}
    if len(owners) == 1:
        connection.execute(sql.query("schema_become"), {"role": owners.pop()})
        me, _ = _role(connection)
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise MayNotCreate(
            f"role {me} may not make the schema: {error.diag.message_primary}",
            remedy=f"as the database's owner: GRANT CREATE ON DATABASE {_quoted(database)} TO {_quoted(me)}; "
            "then run it again",
        ) from error


def _role(connection: psycopg.Connection[Any]) -> tuple[str, str]:
    row = connection.execute(sql.query("schema_role")).fetchone()
    assert row is not None  # noqa: S101 - the query always returns one row
    return row[0], row[1]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
