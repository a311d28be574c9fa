"""A database as its owner sees it, and as a role sees it that only polls."""

from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg.sql import SQL, Identifier

from sandbox import Isolated
from tests.integration.relay.stage import Said, call, environment


@dataclass(frozen=True)
class Poller:
    """The database of `owner`, and the same as the relay's role sees it."""

    owner: Isolated
    isolated: Isolated

    def variables(self, **changes: str) -> dict[str, str]:
        return environment(self.isolated, **{"RELAY_SOURCE": "polling", "RELAY_POLL_INTERVAL": "0.2", **changes})

    def call(self, *arguments: str, **changes: str) -> Said:
        return call(self.variables(**changes), *arguments)

    def as_owner(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.owner.database_url, autocommit=True) as connection:
            connection.execute(SQL(statement).format(*map(Identifier, names)))
