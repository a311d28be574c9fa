"""Fixtures: a private Postgres, on which commits can wait for a standby that is not there, and be prepared."""

from collections.abc import Iterator

import psycopg
import pytest

from outboxkit.sql.apply import apply
from sandbox import Servers
from sandbox.lifetime import private
from sandbox.lifetime.isolation import Isolation
from sandbox.servers.backend import Extra
from sandbox.servers.postgres import Postgres
from tests.integration.relay.sources.handover.scene import Scene

# Nobody waits for the standby that is not there, except who sets synchronous_commit. Nobody but a test freezes a row.
_CONFIGURATION = """\
max_prepared_transactions = 20
synchronous_standby_names = 'nobody'
synchronous_commit = local
autovacuum = off
"""


def _schema(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        apply(connection)


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """Start the server, once for each worker."""
    with private.postgres(Extra(_CONFIGURATION)) as server:
        yield server


@pytest.fixture(scope="session")
def isolation(server: Postgres) -> Isolation:
    """Return what makes a database for each test; there is no broker."""
    return Isolation(Servers(server.url, "amqp://127.0.0.1"), _schema)


@pytest.fixture
def scene(server: Postgres, isolation: Isolation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Yield a database of its own, on which a relay may begin; it looks often what it can do."""
    monkeypatch.setattr("relay.sources.handover.handover._LOOK_EVERY", 0.05)
    monkeypatch.setattr("relay.storage.slots.new_slot._LOOK_EVERY", 0.05)
    with Scene(server, isolation.create()) as scene:
        yield scene
