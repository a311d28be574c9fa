"""What can go wrong for a writer, by what must change. SQLSTATEs decide, never texts (outboxkit/sqlstates.py).

Problem
├── Refused            the row breaks a limit, or its id exists already        the row
├── NotSetUp           the schema is missing, or older than this program       the database: `relay setup`
├── NotAllowed         the role lacks a privilege                              the role
├── Failed             Postgres fails in another way that is final             see the SQLSTATE in the message
└── Unavailable        Postgres cannot be reached                              nothing: try again
    └── OutcomeUnknown the connection was lost during COMMIT                   nothing: look for the tasks later

A lost connection in the caller's transaction stays psycopg's OperationalError: it is the caller's connection.
Unavailable, OutcomeUnknown and Failed come from `writers submit` only, which has connections of its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as postgres

from outboxkit.errors import Problem
from outboxkit.postgres import message


class Refused(Problem):
    """The database does not accept the row, and never will as long as the row stays the same."""


class NotSetUp(Problem):
    """The tables or functions do not exist."""


class NotAllowed(Problem):
    """The role may not write here."""


class Failed(Problem):
    """Postgres fails, and will fail again."""


class Unavailable(Problem):
    """Postgres cannot be reached, or was not for as long as we tried."""


class OutcomeUnknown(Unavailable):
    """The connection was lost during COMMIT, and no later connection could ask for its outcome."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise psycopg's errors about a row, the schema or the role as a Problem; let the others pass.

    A missing privilege does not wait for an operator here: the caller's transaction has failed and must end.
    """
    try:
        yield
    except (
        postgres.UndefinedTable,
        postgres.UndefinedColumn,
        postgres.UndefinedFunction,
        postgres.InvalidSchemaName,
    ) as error:
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


def failed(error: psycopg.Error) -> Failed:
    """Return a final `error` that is not about a row, the schema or the role."""
    return Failed(
        f"Postgres cannot write the tasks ({error.sqlstate}: {words(error)})",
        remedy="trying again does not help; find the code in appendix A of PostgreSQL's manual",
    )


def words(error: Exception) -> str:
    """Return what `error` says, on one line and without the row that it is about."""
    match error:
        case Problem(what=text):
            return " ".join(text.split())
        case psycopg.Error():
            return message(error)
        case _:
            return " ".join(str(error).split()) or type(error).__name__


def _refusal(error: psycopg.Error) -> str:
    """Return the limit that was broken: our constraints are named by what they say."""
    if isinstance(error, postgres.CheckViolation) and error.diag.constraint_name:
        return error.diag.constraint_name
    if isinstance(error, postgres.UniqueViolation) and error.diag.message_detail:
        return error.diag.message_detail
    return words(error)
