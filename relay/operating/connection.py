"""The connection to Postgres that a command of an operator uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from outboxkit import sql
from outboxkit.postgres import conninfo
from relay.settings import RelaySettings
from relay.storage.sessions.refusals import from_postgres


@contextmanager
def connected(settings: RelaySettings, purpose: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect as `<relay> <purpose>`, with autocommit; an error of Postgres in the block is raised as a Problem.

    Values have the form that the relay reads in its stream, and commits wait for no standby.
    """
    try:
        with psycopg.connect(
            conninfo(settings.database_url.get_secret_value()),
            autocommit=True,
            application_name=f"{settings.name} {purpose}",
        ) as connection:
            connection.execute(sql.query("stream_formats"))
            connection.execute(sql.query("session_own_writes"))
            yield connection
    except psycopg.Error as error:
        raise from_postgres(error, slot=settings.slot, done=purpose) from error
