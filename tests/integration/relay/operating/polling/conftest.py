"""A server that offers no logical decoding, and a role that may neither stream nor create anything."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Literal

from outboxkit.sql.apply import apply
from sandbox import Sandbox, Servers
from sandbox.lifetime import private
from sandbox.lifetime.isolation import Isolation
from sandbox.servers.backend import Extra
from tests.integration.relay.operating.polling.poller import Poller
from tests.integration.relay.stage import staged
from tests.support.commands import ROOT
from tests.support.stage import Stage
from tests.support.urls import login

ROLES: LiteralString = (ROOT / "sql" / "roles.sql").read_text(encoding="utf-8")
_NO_DECODING = "wal_level = replica\nmax_wal_senders = 0\nmax_replication_slots = 0\n"


def _schema(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(ROLES)
        apply(connection)


@pytest.fixture(scope="module")
def undecodable(sandbox: Sandbox) -> Iterator[Isolation]:
    """Start a Postgres without logical decoding, once for a file."""
    with private.postgres(Extra(_NO_DECODING)) as server:
        isolation = Isolation(Servers(server.url, sandbox.servers.amqp_url), _schema)
        yield isolation
        isolation.close()


@pytest.fixture
def poller(undecodable: Isolation) -> Iterator[Poller]:
    """Return a database whose owner has applied the schema and sql/roles.sql, and the relay's role there."""
    password = secrets.token_hex(8)
    with undecodable.isolated() as owner:
        with psycopg.connect(owner.database_url, autocommit=True) as connection:
            connection.execute(ROLES)
            connection.execute(SQL("ALTER ROLE outbox_poller PASSWORD {}").format(Literal(password)))
        url = login(owner.database_url, "outbox_poller", password)
        yield Poller(owner, replace(owner, database_url=url))


@pytest.fixture
def polling(poller: Poller, tmp_path: Path) -> Iterator[Stage]:
    """Yield a stage for processes that run as the relay's role."""
    with staged(poller.owner, tmp_path) as stage:
        stage.settings |= {
            "RELAY_DATABASE_URL": poller.isolated.database_url,
            "RELAY_SOURCE": "polling",
            "RELAY_POLL_INTERVAL": "0.2",
        }
        yield stage
