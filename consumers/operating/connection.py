"""The connection to Postgres of a command that an operator types: nothing is sent twice, and an error ends it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import RowFactory, tuple_row

from consumers.errors import DatabaseFailed, DatabaseUnavailable, SchemaMissing
from consumers.postgres.connecting import PREPARE_THRESHOLD
from consumers.postgres.refusals import SET_UP
from consumers.settings import ConsumerSettings
from outboxkit.errors import Problem
from outboxkit.postgres import conninfo, message


@contextmanager
def connected(
    settings: ConsumerSettings, purpose: str, row_factory: RowFactory[Any] = tuple_row
) -> Iterator[psycopg.Connection[Any]]:
    """Connect as `consumers <purpose>`, with autocommit; an error of Postgres in the block is raised as a Problem."""
    try:
        with psycopg.connect(
            conninfo(settings.database_url.get_secret_value(), application_name=f"consumers {purpose}"),
            autocommit=True,
            prepare_threshold=PREPARE_THRESHOLD,
            row_factory=row_factory,
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise problem(error, purpose) from error


def problem(error: psycopg.Error, purpose: str) -> Problem:
    """Return what Postgres answered to `consumers <purpose>`, with its remedy."""
    match error.sqlstate:
        case None:
            return DatabaseUnavailable(
                f"Postgres is not reachable, refuses the login, or the connection was lost: {message(error)}",
                remedy="check host, port, database, user and password in CONSUMERS_DATABASE_URL, and repeat it",
            )
        case "3F000" | "42P01" | "42703" | "42883":
            return SchemaMissing(
                f"the database lacks what `consumers {purpose}` needs ({message(error)})", remedy=SET_UP
            )
        case "42501":
            return DatabaseFailed(
                f"the role in CONSUMERS_DATABASE_URL lacks a right: {message(error)}",
                remedy="use a member of outbox_operator; run sql/roles.sql again if an older version made it",
            )
        case _:
            return DatabaseFailed(
                f"Postgres refused it ({error.sqlstate}: {message(error)})",
                remedy="find the code in appendix A of PostgreSQL's manual",
            )
