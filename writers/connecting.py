"""Opens the connections of `writers submit`, set so that a dead link is noticed. The helper never comes here."""

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from writers.errors import Unavailable, words

# Seconds, tcp_user_timeout in milliseconds. Without them a cut link is noticed after two hours.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_DEFAULTS: dict[str, Any] = {
    "fallback_application_name": "writers",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
    "target_session_attrs": "read-write",  # a standby that lags would deny what the primary has committed
}


async def connect(url: str) -> psycopg.AsyncConnection[Any]:
    """Connect to the database at `url`; what the URL sets itself wins. Raises Unavailable."""
    try:
        return await psycopg.AsyncConnection.connect(make_conninfo(**{**_DEFAULTS, **conninfo_to_dict(url)}))
    except psycopg.OperationalError as error:
        raise Unavailable(
            f"Postgres cannot be reached ({words(error)})",
            remedy="check that it runs and that WRITERS_DATABASE_URL names it, with the right user and password",
        ) from error
