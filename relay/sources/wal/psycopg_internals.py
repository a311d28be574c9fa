"""The names of psycopg that its documentation does not promise; pyproject.toml bounds the versions.

psycopg has no replication API. Its generators speak the protocol without waiting, and a connection waits for them
(https://www.psycopg.org/psycopg3/docs/api/pq.html).
"""

from typing import Any

import psycopg
from psycopg import generators, pq


async def execute_raw(connection: psycopg.AsyncConnection[Any], command: bytes) -> pq.abc.PGresult | None:
    """Send `command` as a simple query and return its first result, whose status may be COPY_BOTH.

    Raises psycopg's errors of a lost connection; a result that is an error is returned like any other.
    """
    connection.pgconn.send_query(command)
    await connection.wait(generators.send(connection.pgconn))
    return await connection.wait(generators.fetch(connection.pgconn))
