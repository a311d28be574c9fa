"""Roles with limited rights. A role belongs to the whole server, so each is dropped after its block."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from tests.support.urls import login

# What the operations guide grants to the relay's own role.
_GRANTS: tuple[LiteralString, ...] = (
    "GRANT USAGE ON SCHEMA relay, outbox TO {}",
    "GRANT SELECT, INSERT, UPDATE ON relay.checkpoint, relay.parked TO {}",
    "GRANT SELECT, INSERT ON relay.handover TO {}",
    "GRANT SELECT, INSERT, DELETE ON relay.checkpoint_history, relay.confirmed TO {}",
    "GRANT SELECT, INSERT, UPDATE ON relay.replay TO {}",
    "GRANT SELECT ON outbox.event TO {}",
)


@contextmanager
def role(database_url: str, attributes: LiteralString, password: str, *, granted: bool = True) -> Iterator[str]:
    """Make a role, with the relay's grants if `granted`; yields the database's URL for it."""
    name = f"{urlsplit(database_url).path.removeprefix('/')}_role"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL("CREATE ROLE {} PASSWORD {} " + attributes).format(Identifier(name), Literal(password)))
    try:
        for grant in _GRANTS if granted else ():
            alter(database_url, grant, name)
        yield login(database_url, name, password)
    finally:
        alter(database_url, "DROP OWNED BY {}", name)
        alter(database_url, "DROP ROLE {}", name)


def alter(database_url: str, statement: LiteralString, name: str) -> None:
    """Run one DDL statement about `name`."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL(statement).format(Identifier(name)))
