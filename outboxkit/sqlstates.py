"""What to do after an error of Postgres, by its SQLSTATE. Pure: the one table for relay, consumers and writers.

The codes: https://www.postgresql.org/docs/current/errcodes-appendix.html. An exact code wins over its class, the
first two characters. Texts are never read: they are translated. What each program raises is its own choice.
"""

from enum import Enum, auto
from types import MappingProxyType


class Recovery(Enum):
    """What ends the failure."""

    TRANSIENT = auto()
    """It passes by itself: try again, on a new connection if this one is gone."""
    OPERATOR = auto()
    """An operator must act. The process continues, tries again and logs the reason."""
    FINAL = auto()
    """The same attempt fails again: stop and report it."""


_CODES = MappingProxyType(
    {
        # Another transaction or process was first; the next attempt sees its result.
        "40001": Recovery.TRANSIENT,  # serialization_failure
        "40P01": Recovery.TRANSIENT,  # deadlock_detected
        "55P03": Recovery.TRANSIENT,  # lock_not_available: lock_timeout or NOWAIT
        "55006": Recovery.TRANSIENT,  # object_in_use: another process has the slot; it may end at any time
        # A limit of time or number was reached, mostly because of the load at that moment.
        "25P03": Recovery.TRANSIENT,  # idle_in_transaction_session_timeout: the session is gone, a new one works
        "25P04": Recovery.TRANSIENT,  # transaction_timeout: the same
        "53300": Recovery.TRANSIENT,  # too_many_connections: one is free as soon as another client leaves
        "57014": Recovery.TRANSIENT,  # query_canceled: statement_timeout or pg_cancel_backend
        "57P05": Recovery.TRANSIENT,  # idle_session_timeout: the session is gone, a new one works
        # The server stops, has crashed or starts. 57P04 (database_dropped) is no such case: it does not come back.
        "57P01": Recovery.TRANSIENT,  # admin_shutdown: a restart, or pg_terminate_backend
        "57P02": Recovery.TRANSIENT,  # crash_shutdown: the server restarts its processes
        "57P03": Recovery.TRANSIENT,  # cannot_connect_now: it starts, stops or recovers
        # The server is up and the request is correct, but it cannot be served until an operator acts.
        "25006": Recovery.OPERATOR,  # read_only_sql_transaction: a standby, or default_transaction_read_only is on
        "28000": Recovery.OPERATOR,  # invalid_authorization_specification: pg_hba.conf, or a role without LOGIN
        "28P01": Recovery.OPERATOR,  # invalid_password: it may have been changed, and ours follows
        "42501": Recovery.OPERATOR,  # insufficient_privilege: a GRANT takes effect without a restart of ours
        "58030": Recovery.OPERATOR,  # io_error: a disk of the server fails
    }
)
_CLASSES = MappingProxyType(
    {
        "08": Recovery.TRANSIENT,  # connection exceptions. PgBouncer reports its own timeouts as 08P01
        # Insufficient resources: 53100 disk_full, 53200 out_of_memory, 53400 such as "all replication slots are in
        # use". They last until the resource is freed or the limit raised.
        "53": Recovery.OPERATOR,
    }
)


def recovery(sqlstate: str | None) -> Recovery:
    """Return what ends the failure that has `sqlstate`; None is libpq's own, when there is no connection.

    psycopg's other errors without a SQLSTATE (a wrong placeholder, a value that cannot be sent) are mistakes in the
    program: only for `psycopg.OperationalError` does None mean a lost connection.

    FINAL is everything that the table does not list: data and constraints (22, 23), statements that do not fit the
    schema (3D, 3F, 42), limits of the server's code (54), a missing output plugin (58P01), a slot that is missing or
    unusable (42704, 55000), bugs (XX) and all codes that no version had when this was written.
    """
    if sqlstate is None:
        return Recovery.TRANSIENT
    return _CODES.get(sqlstate) or _CLASSES.get(sqlstate[:2]) or Recovery.FINAL
