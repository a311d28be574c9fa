"""What the commands `consumers events parked ...` ask of Postgres. It prints nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from consumers.errors import DatabaseFailed, DatabaseUnavailable, SchemaMissing
from consumers.settings import ConsumerSettings
from outboxkit import sql
from outboxkit.errors import Problem
from outboxkit.postgres import conninfo, message

Row = dict[str, Any]
Connected = psycopg.Connection[Row]


@contextmanager
def connected(settings: ConsumerSettings) -> Iterator[Connected]:
    """Connect; an error of Postgres in the block is raised as a Problem."""
    try:
        with psycopg.connect(
            conninfo(settings.database_url.get_secret_value(), application_name="consumers events"),
            autocommit=True,
            prepare_threshold=None,
            row_factory=dict_row,
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise _problem(error) from error


def waiting(
    connection: Connected, numbers: Sequence[int] | None, *, consumer: str | None, reason: str | None, limit: int | None
) -> list[Row]:
    """Return parked events that wait, of all or of the rows `numbers`, the oldest first."""
    return connection.execute(
        sql.query("inbox_parked_list"),
        {"numbers": None if numbers is None else list(numbers), "consumer": consumer, "reason": reason, "limit": limit},
    ).fetchall()


def count(connection: Connected, *, consumer: str | None, reason: str | None) -> int:
    """Return how many parked events wait."""
    row = connection.execute(sql.query("inbox_parked_count"), {"consumer": consumer, "reason": reason}).fetchone()
    assert row is not None  # noqa: S101 - the query always returns one row
    return int(row["count"])


def stored(connection: Connected, numbers: Sequence[int]) -> list[Row]:
    """Return all that is stored of the rows `numbers`."""
    return connection.execute(sql.query("inbox_parked_show"), {"numbers": list(numbers)}).fetchall()


def ask(connection: Connected, numbers: Sequence[int]) -> list[int]:
    """Ask for parked events to be applied again; return those that wait."""
    rows = connection.execute(sql.query("inbox_parked_ask"), {"numbers": list(numbers)}).fetchall()
    return sorted(row["number"] for row in rows)


def discard(connection: Connected, numbers: Sequence[int]) -> list[int]:
    """Discard parked events; return those that waited."""
    rows = connection.execute(sql.query("inbox_parked_discard"), {"numbers": list(numbers)}).fetchall()
    return sorted(row["number"] for row in rows)


def _problem(error: psycopg.Error) -> Problem:
    match error.sqlstate:
        case None:
            return DatabaseUnavailable(
                f"Postgres is not reachable, or refuses the login: {message(error)}",
                remedy="check host, port, database, user and password in CONSUMERS_DATABASE_URL",
            )
        case "3F000" | "42P01" | "42703" | "42883":
            return SchemaMissing(
                f"the database has no inbox of this version ({message(error)})",
                remedy="run `consumers setup` on it, or `relay setup` if it is the outbox's",
            )
        case "42501":
            return DatabaseFailed(
                f"the role in CONSUMERS_DATABASE_URL lacks a right: {message(error)}",
                remedy="run sql/roles.sql again, or use the role outbox_consumer",
            )
        case _:
            return DatabaseFailed(
                f"Postgres refused it ({error.sqlstate}: {message(error)})",
                remedy="find the code in appendix A of PostgreSQL's manual",
            )
