"""A database that is set up with the roles of sql/roles.sql.

Roles belong to the whole server: the ones made here are dropped again, and a server that has them is left alone.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from sandbox import Isolated
from tests.integration.schema.sites import NAMES, PEOPLE, ROLES, Site, drop_roles, log_in


@pytest.fixture
def bare(isolated: Isolated) -> Iterator[Site]:
    """Yield a database without a schema, on a server without our roles; those made are dropped afterwards."""
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        query = "SELECT count(*) FROM pg_roles WHERE rolname = ANY(%s)"
        assert connection.execute(query, [list(NAMES)]).fetchone() == (0,), "this server has these roles already"
        connection.execute("DROP SCHEMA relay, outbox, tasks, inbox, outbox_setup CASCADE")
    site = Site(isolated, {})
    yield site
    drop_roles(site, *NAMES)


@pytest.fixture
def site(bare: Site) -> Iterator[Site]:
    """Run the role file before and after setup, as docs/operations.md says."""
    site, isolated = bare, bare.isolated
    with ExitStack() as stack:
        with psycopg.connect(isolated.database_url, autocommit=True) as connection:
            connection.execute(ROLES)
            for role in ("outbox_owner", "outbox_relay", "outbox_consumer", "outbox_service"):
                site.urls[role] = log_in(connection, isolated.database_url, role)
            setup = site.call("outbox_owner", "setup")
            assert setup.code == 0, setup.output
            connection.execute(ROLES)
            for person, group in PEOPLE.items():
                connection.execute(SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(Identifier(person), Identifier(group)))
                stack.callback(drop_roles, site, person)
                site.urls[person] = log_in(connection, isolated.database_url, person)
        yield site
