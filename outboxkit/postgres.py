"""What relay, consumers and writers share about Postgres: options that detect a dead link, and what an error means.

It opens no connection and raises nothing of its own.
"""

from types import MappingProxyType
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from outboxkit.sqlstates import Recovery, recovery

# Seconds; tcp_user_timeout in milliseconds. A dead link is detected within about ten seconds, also while data waits to
# be acknowledged; with Linux' own values, after two hours.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-KEEPALIVES
_DEAD_LINK = MappingProxyType(
    {
        "connect_timeout": "10",
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "3",
        "tcp_user_timeout": "10000",
    }
)


def conninfo(url: str, **options: str) -> str:
    """Return the connection string of `url` with `options` and timeouts; what `url` or PG* variables set wins."""
    own = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    set_elsewhere = {option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.val is not None}
    timeouts = {name: value for name, value in _DEAD_LINK.items() if name not in set_elsewhere}
    return make_conninfo(**{**timeouts, **options, **own})


def conninfo_for_writes(url: str, **options: str) -> str:
    """Return `conninfo`. Of several hosts, the first that takes writes is used, unless `url` or PG* say otherwise."""
    merged = {option.keyword.decode(): option.val.decode() for option in pq.Conninfo.get_defaults() if option.val}
    own = conninfo_to_dict(url)
    hosts = str(own.get("hostaddr") or own.get("host") or merged.get("hostaddr") or merged.get("host") or "").split(",")
    if len(hosts) == 1 or merged.get("target_session_attrs", "any") != "any":
        return conninfo(url, **options)
    return conninfo(url, **options, target_session_attrs="read-write")


def has_become_read_only(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Return whether the server has said so by itself; a pooler may keep it secret.

    https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC
    """
    status = connection.pgconn.parameter_status
    return b"on" in {status(b"default_transaction_read_only"), status(b"in_hot_standby")}


def recovery_of(error: psycopg.Error) -> Recovery:
    """Return what ends the failure; an error without a SQLSTATE is transient only if the connection is lost."""
    if error.sqlstate is None and not isinstance(error, psycopg.OperationalError):
        return Recovery.FINAL
    return recovery(error.sqlstate)


def message(error: psycopg.Error) -> str:
    """Return what Postgres or libpq said, on one line and without the row that it is about."""
    text = error.diag.message_primary or str(error)
    return " ".join(text.split()) or type(error).__name__
