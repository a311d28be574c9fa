"""The difference of two clocks: writers note their commits by the server's, all else is timed by this machine's."""

import time
from typing import Any

import psycopg

from outboxkit import sql

_READINGS = 5


def ahead(connection: psycopg.Connection[Any]) -> float:
    """Return by how many seconds the server's clock is ahead; 0 if that is less than what an answer takes to come."""
    seconds, uncertain = min((_reading(connection) for _ in range(_READINGS)), key=lambda reading: reading[1])
    return seconds if abs(seconds) > uncertain else 0.0


def _reading(connection: psycopg.Connection[Any]) -> tuple[float, float]:
    """Return the difference, and by how much it may be wrong."""
    before = time.time()
    (now,) = connection.execute(sql.example("demo_now")).fetchone() or (None,)
    after = time.time()
    assert now is not None  # noqa: S101 - the statement has one row
    return now.timestamp() - (before + after) / 2, (after - before) / 2
