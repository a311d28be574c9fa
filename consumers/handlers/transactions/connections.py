"""The connection that a handler in a transaction gets. It is good for this transaction, and cannot end it.

It is a new object for each handler, over a session of the pool: whatever a handler sets on it (row_factory, adapters,
notice handlers, prepare_threshold) ends with it. What ends the transaction is refused as early as it can be seen:

* `commit()`, `rollback()`: here.
* COMMIT, END, PREPARE TRANSACTION as SQL: by Postgres (sql/schema/015_sessions.sql), whoever sends it.
* ROLLBACK, ABORT as SQL: here, before it is sent; in what does not pass through `execute`, right after.
"""

import re
from typing import Any, NoReturn, Self, TypeVar

import psycopg
from psycopg import pq, sql
from psycopg.abc import PQGen, Query

from consumers.postgres.connecting import PREPARE_THRESHOLD

RV = TypeVar("RV")

_IDLE = pq.TransactionStatus.IDLE
_INSTEAD = "raise an exception to roll it back, return to commit it"
# What may hold a semicolon or a word that is none of the statement's own.
_OPAQUE = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | '(?:[^']|'')*' | "(?:[^"]|"")*" | \$(\w*)\$.*?\$\1\$""", re.VERBOSE | re.DOTALL
)
# ROLLBACK TO SAVEPOINT ends no transaction.
_ROLLBACK = re.compile(r"(?:\A|;)\s*(?:ABORT|ROLLBACK(?!\s+(?:(?:WORK|TRANSACTION)\s+)?TO\b))\b", re.IGNORECASE)


class TransactionEnded(psycopg.ProgrammingError):
    """A handler in a transaction has ended it, or tried to. Nothing of what it did is committed."""


def rolls_back(text: str) -> bool:
    """Return whether one of the statements in `text` rolls back the whole transaction."""
    lowered = text.lower()
    if "rollback" not in lowered and "abort" not in lowered:
        return False
    return _ROLLBACK.search(_OPAQUE.sub(" ", text)) is not None


class _InTransaction:
    """What the connections for both kinds of handlers have in common."""

    pgconn: pq.abc.PGconn
    over = False
    """Whether its handler has ended."""
    _refused = ""
    """What the handler tried: after that its transaction is not committed, though it may have caught the exception."""

    def commit(self) -> NoReturn:
        """Refuse: the transaction is committed with the task's completion."""
        self._refuse("commit()")

    def rollback(self) -> NoReturn:
        """Refuse: it is rolled back if the handler raises."""
        self._refuse("rollback()")

    def require_transaction(self) -> None:
        """Raise TransactionEnded unless the transaction is still there."""
        if self.over:
            raise TransactionEnded("the handler that this connection was for has ended; use the one that is passed in")
        if self._refused:
            raise TransactionEnded(self._refused)
        if self.pgconn.transaction_status == _IDLE:
            raise TransactionEnded(f"the handler has ended its transaction by an SQL statement; {_INSTEAD}")

    def refuse_rollback(self, query: Query) -> None:
        """Raise TransactionEnded if `query` would roll back the transaction: what follows would commit by itself."""
        match query:
            case str():
                text = query
            case bytes():
                text = query.decode("utf-8", "replace")
            case sql.Composable():
                text = query.as_string()
            case _:
                return
        if rolls_back(text):
            self._refuse("ROLLBACK")

    def _refuse(self, what: str) -> NoReturn:
        self._refused = f"{what} in a handler's transaction; {_INSTEAD}"
        raise TransactionEnded(self._refused)

    def end(self) -> None:
        """Detach this object from its session: whoever has kept it cannot disturb the next handler."""
        self.over = True
        self.pgconn.notice_handler = self.pgconn.notify_handler = None

    def __del__(self, *_: object) -> None:
        """Say nothing, as psycopg does about an open connection: the session is the pool's."""


class _Cursor(psycopg.Cursor[Any]):
    def execute(self, query: Query, *args: Any, **options: Any) -> Self:  # noqa: ANN401 - as psycopg has them
        if isinstance(self.connection, HandlerConnection):
            self.connection.refuse_rollback(query)
        return super().execute(query, *args, **options)


class _AsyncCursor(psycopg.AsyncCursor[Any]):
    async def execute(self, query: Query, *args: Any, **options: Any) -> Self:  # noqa: ANN401 - as psycopg has them
        if isinstance(self.connection, AsyncHandlerConnection):
            self.connection.refuse_rollback(query)
        return await super().execute(query, *args, **options)


class HandlerConnection(_InTransaction, psycopg.Connection[Any]):
    """For a handler in a thread. All that psycopg sends passes through `wait`."""

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        super().__init__(pgconn)
        self.cursor_factory = _Cursor
        self.prepare_threshold = PREPARE_THRESHOLD

    def wait(self, gen: PQGen[RV], *args: Any, **options: Any) -> RV:  # noqa: ANN401 - as psycopg has them
        """Send what `gen` sends, in the transaction only; raises TransactionEnded if it ended the transaction."""
        self.require_transaction()
        result = super().wait(gen, *args, **options)
        self.require_transaction()
        return result

    def close(self) -> None:
        """Close the session: the transaction is rolled back, and the task runs again."""
        if not self.over:
            super().close()


class AsyncHandlerConnection(_InTransaction, psycopg.AsyncConnection[Any]):
    """The same for a handler on the loop."""

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        super().__init__(pgconn)
        self.cursor_factory = _AsyncCursor
        self.prepare_threshold = PREPARE_THRESHOLD

    async def wait(self, gen: PQGen[RV], *args: Any, **options: Any) -> RV:  # noqa: ANN401 - as psycopg has them
        """Send what `gen` sends, in the transaction only; raises TransactionEnded if it ended the transaction."""
        self.require_transaction()
        result = await super().wait(gen, *args, **options)
        self.require_transaction()
        return result

    async def close(self) -> None:
        """Close the session: the transaction is rolled back, and the task runs again."""
        if not self.over:
            await super().close()
