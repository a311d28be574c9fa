"""What can go wrong for a writer, told apart by what must change. SQLSTATEs decide, never texts.

Problem
├── Refused            the row breaks a limit, or its id is there already       the row
├── NotSetUp           the schema is missing, or older than this program        the database: relay setup
├── NotAllowed         the role lacks a right                                   the role
└── Unavailable        Postgres cannot be reached                               nothing: try again
    └── OutcomeUnknown it was lost during COMMIT and did not come back          nothing: look later

A lost connection in the caller's transaction stays psycopg's OperationalError: it is the caller's connection.
https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as postgres

from outboxkit.errors import Problem


class Refused(Problem):
    """The database does not take the row; it never will, as it is."""


class NotSetUp(Problem):
    """The tables or functions are not there."""


class NotAllowed(Problem):
    """The role may not write here."""


class Unavailable(Problem):
    """Postgres cannot be reached, or not within our patience."""


class OutcomeUnknown(Unavailable):
    """The connection was lost during COMMIT, and nobody could be asked what became of it."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise what psycopg raises about a row, the schema or the role as a Problem; let the rest pass."""
    try:
        yield
    except (postgres.UndefinedTable, postgres.UndefinedFunction, postgres.InvalidSchemaName) as error:
        raise NotSetUp(
            f"the database has no outbox for this version ({words(error)})", remedy="run `relay setup`"
        ) from error
    except postgres.InsufficientPrivilege as error:
        raise NotAllowed(
            f"the database role may not write tasks and events ({words(error)})",
            remedy="grant it USAGE on the schemas outbox and tasks, and INSERT on outbox.event and tasks.task",
        ) from error
    except (psycopg.IntegrityError, psycopg.DataError, postgres.ProgramLimitExceeded) as error:
        raise Refused(
            f"the database refuses it: {_refusal(error)}", remedy="change it, and repeat the transaction"
        ) from error


def words(error: Exception) -> str:
    """Return what `error` says, on one line and without the row it is about."""
    match error:
        case Problem(what=text):
            pass
        case psycopg.Error() if error.diag.message_primary:
            text = error.diag.message_primary
        case _:
            text = str(error)
    return " ".join(text.split()) or type(error).__name__


def _refusal(error: psycopg.Error) -> str:
    """Return the limit that was broken: our constraints are named by what they say."""
    if isinstance(error, postgres.CheckViolation) and error.diag.constraint_name:
        return error.diag.constraint_name
    if isinstance(error, postgres.UniqueViolation) and error.diag.message_detail:
        return error.diag.message_detail
    return words(error)
