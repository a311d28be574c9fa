"""What the commands `consumers events parked ...` ask of Postgres. It prints nothing."""

from collections.abc import Sequence
from typing import Any

import psycopg

from outboxkit import sql

Row = dict[str, Any]
Connected = psycopg.Connection[Row]


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
