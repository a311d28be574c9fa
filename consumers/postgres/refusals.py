"""What an operator must do when Postgres refuses or does not answer. It tells causes apart by codes, never by texts."""

from types import MappingProxyType

import psycopg

from consumers.errors import DatabaseFailed, DatabaseUnavailable, SchemaMissing
from outboxkit.errors import Problem
from outboxkit.login import Words, refusal
from outboxkit.postgres import message

URL = "CONSUMERS_DATABASE_URL"
SET_UP = "run `consumers setup` of this version on it, or `relay setup` if it is the outbox's"
_NOT_SET_UP = frozenset({"3F000", "42P01", "42703", "42883"})  # a schema, table, column or function does not exist
RIGHTS = "`consumers check` names each GRANT that the role lacks; sql/roles.sql gives them to outbox_consumer"

_WORDS = Words(URL, created=f"then {SET_UP}", login=" (in psql, \\password <role> sets another one)")

_OF_CODES = MappingProxyType(
    {
        "25006": _WORDS.no_writes(),
        "42501": ("the role lacks a right", RIGHTS),
        "53300": (
            "Postgres has no session left",
            "raise max_connections, or the role's CONNECTION LIMIT; `consumers check` says how many a consumer needs",
        ),
    }
)


def unavailable(error: psycopg.Error, conninfo: str) -> DatabaseUnavailable:
    """Return why there is no session, or none that can be used; it may connect, so call it in a thread."""
    if error.sqlstate is None and isinstance(error, psycopg.OperationalError):
        what, remedy = _WORDS.refusal(refusal(error, conninfo))
        return DatabaseUnavailable(f"{what}: {message(error)}", remedy=remedy)
    return refused(error)


def refused(error: psycopg.Error) -> DatabaseUnavailable:
    """Return why Postgres refuses something in a session."""
    other = f"Postgres refuses ({error.sqlstate})", "see the server's log; a consumer that runs tries it again"
    what, remedy = _OF_CODES.get(error.sqlstate or "", other)
    return DatabaseUnavailable(f"{what}: {message(error)}", remedy=remedy)


def failed(error: psycopg.Error) -> Problem:
    """Return the Problem for a statement that fails in a way that is final."""
    if error.sqlstate in _NOT_SET_UP:
        return SchemaMissing(f"the database has no tables for tasks of this version ({message(error)})", remedy=SET_UP)
    return DatabaseFailed(
        f"Postgres cannot run a statement of the consumer ({error.sqlstate}: {message(error)})",
        remedy="find the code in appendix A of PostgreSQL's manual, and the statement in the server's log",
    )
