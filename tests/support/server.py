"""What a server says of itself."""

from datetime import datetime

import psycopg
from psycopg.rows import scalar_row


def server_started_at(database_url: str) -> datetime:
    """Return when the server was started."""
    with psycopg.connect(database_url, row_factory=scalar_row) as connection:
        found = connection.execute("SELECT pg_postmaster_start_time()").fetchone()
    assert isinstance(found, datetime)
    return found
