"""A database with the roles of sql/roles.sql, and what a test does as each of them."""

import secrets
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from sandbox import Isolated
from tests.integration.relay.stage import Said, call, environment, one
from tests.support.commands import ROOT
from tests.support.urls import login

ROLES: LiteralString = (ROOT / "sql" / "roles.sql").read_text(encoding="utf-8")
NAMES = (
    *("outbox_owner", "outbox_relay", "outbox_poller", "outbox_operator"),
    *("outbox_writer", "outbox_service", "outbox_demo", "outbox_consumer", "outbox_auditor"),
)
PEOPLE = {"operator": "outbox_operator", "application": "outbox_writer", "auditor": "outbox_auditor"}


@dataclass
class Site:
    """A database where `relay setup` has run as the owner, and a URL for each role."""

    isolated: Isolated
    urls: dict[str, str]

    def administer(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.isolated.database_url, autocommit=True) as connection:
            connection.execute(SQL(statement).format(*map(Identifier, names)))

    def variables(self, role: str, **changes: str) -> dict[str, str]:
        return environment(self.isolated, RELAY_DATABASE_URL=self.urls[role], **changes)

    def call(self, role: str, *arguments: str) -> Said:
        return call(self.variables(role), *arguments)

    def missing(self) -> dict[str, str]:
        """Return the summaries of the checks that FAIL for the relay's role, by id."""
        findings = self.call("outbox_relay", "check", "--json").json["checks"]
        return {each["id"]: each["summary"] for each in findings if each["status"] == "FAIL"}


def log_in(connection: psycopg.Connection[tuple[object, ...]], database_url: str, role: str) -> str:
    """Give `role` a password and return the database's URL for it."""
    password = secrets.token_hex(8)
    connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(role), Literal(password)))
    return login(database_url, role, password)


def drop_roles(site: Site, *names: str) -> None:
    """Drop roles, and what they own or were granted."""
    for name in names:
        if one(site.isolated.database_url, "SELECT count(*) FROM pg_roles WHERE rolname = %s", name):
            site.administer("DROP OWNED BY {} CASCADE", name)
            site.administer("DROP ROLE {}", name)
