"""Opens the connections of `writers submit`. `writers.submit` and `writers.publish` use the caller's connection."""

from typing import Any

import psycopg

from outboxkit.postgres import conninfo
from writers.errors import Unavailable, words


async def connect(url: str) -> psycopg.AsyncConnection[Any]:
    """Connect to the database at `url`; raises Unavailable."""
    try:
        # A standby that lags does not know yet what the primary has committed, so only a primary will do.
        return await psycopg.AsyncConnection.connect(
            conninfo(url, fallback_application_name="writers", target_session_attrs="read-write"),
            prepare_threshold=None,  # behind a pooler, the next statement may be in another session
        )
    except psycopg.OperationalError as error:
        raise Unavailable(
            f"Postgres cannot be reached ({words(error)})",
            remedy="check that it runs and that WRITERS_DATABASE_URL names it, with the right user and password",
        ) from error
