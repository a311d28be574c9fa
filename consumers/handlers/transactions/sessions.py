"""The sessions that handlers in transactions use, one after another: what is sent, and what an error means."""

from typing import Any, LiteralString

import psycopg
from psycopg import pq

from consumers.handlers.outcomes import Unfinished, describe
from consumers.postgres.connecting import PREPARE_THRESHOLD, SessionFacts, require_writable
from outboxkit import sql
from outboxkit.postgres import has_become_read_only

OPTIONS = {"autocommit": True, "prepare_threshold": PREPARE_THRESHOLD}
UNAVAILABLE = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
"""What is raised when there is no session, or one that ended or cannot write: another may be better."""
_READ_ONLY = "25006"
_USABLE = frozenset({pq.TransactionStatus.IDLE, pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR})


class _Session:
    pgconn: pq.abc.PGconn
    pooled = False
    """Whether a pooler serves it: the process is another one than that of the login."""

    def look(self, row: tuple[Any, ...] | None) -> None:
        """Look at what a new session says of itself; raises ReadOnlySqlTransaction if it cannot write."""
        assert row is not None  # noqa: S101 - the query always returns one row
        facts = SessionFacts(*row)
        require_writable(facts)
        self.pooled = facts.pid != self.pgconn.backend_pid


class Session(_Session, psycopg.Connection[Any]):
    """A session of the pool of Transactions. No handler gets this object, so nothing is ever set on it."""

    def learn(self) -> None:
        """Ask the new session for its facts."""
        self.look(self.execute(sql.query("session_facts")).fetchone())


class AsyncSession(_Session, psycopg.AsyncConnection[Any]):
    """The same for AsyncTransactions."""

    async def learn(self) -> None:
        """Ask the new session for its facts."""
        self.look(await (await self.execute(sql.query("session_facts"))).fetchone())


def require_still_writable(session: Session | AsyncSession) -> None:
    """Raise ReadOnlySqlTransaction if the server has said meanwhile that it takes no writes."""
    if has_become_read_only(session):
        raise psycopg.errors.ReadOnlySqlTransaction("the server has become read-only")


def commit(session: Session | AsyncSession) -> LiteralString:
    """Return what commits a handler's transaction and cleans its session."""
    return _then_reset(sql.query("handler_commit"), session)


def rollback(session: Session | AsyncSession) -> LiteralString:
    """Return what rolls back a handler's transaction, if there still is one, and cleans its session."""
    if session.pgconn.transaction_status == pq.TransactionStatus.IDLE:
        return _reset(session)
    return _then_reset(sql.query("handler_rollback"), session)


def is_usable(session: Session | AsyncSession, error: BaseException | None) -> bool:
    """Return whether the session may be cleaned and used again after `error`; if not, it is closed."""
    if isinstance(error, psycopg.Error) and error.sqlstate == _READ_ONLY:
        return False
    return session.pgconn.transaction_status in _USABLE


def unstarted(error: BaseException) -> Unfinished:
    """Return the outcome of a handler for which there was no session."""
    return Unfinished(f"no connection to Postgres for a handler ({_first_line(error)})", started=False)


def lost(session: Session | AsyncSession, error: BaseException) -> Unfinished | None:
    """Return the outcome of a handler whose session was lost under it; None if `error` is of another kind."""
    if not isinstance(error, Exception):
        return None
    if session.broken:
        return Unfinished(f"a handler's connection to Postgres ended ({_first_line(error)})", started=True)
    if isinstance(error, psycopg.Error) and error.sqlstate == _READ_ONLY and has_become_read_only(session):
        return Unfinished("Postgres has become read-only under a handler", started=True)
    return None


def _then_reset(first: LiteralString, session: Session | AsyncSession) -> LiteralString:
    return first + ";\n" + _reset(session)


def _reset(session: Session | AsyncSession) -> LiteralString:
    reset = sql.query("session_reset")
    return reset if session.pooled else reset + ";\n" + sql.query("session_deallocate")


def _first_line(error: BaseException) -> str:
    return describe(error).splitlines()[0]
