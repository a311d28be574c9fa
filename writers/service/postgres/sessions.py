"""How the service connects to Postgres, and which of its sessions are still good for a request.

It relies on nothing of a session that a pooler in transaction mode would not keep: no prepared statements, no SET, no
startup parameters but application_name, which names the instance to the others.
"""

import select
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any, Final, Self

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row

from outboxkit import sql
from outboxkit.login import Words, refusal
from outboxkit.postgres import conninfo_for_writes, has_become_read_only, message

Session = psycopg.AsyncConnection[DictRow]

_URL = "WRITERS_DATABASE_URL"
# https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY: a statement without a name lives
# as long as its transaction needs it.
_PREPARE_THRESHOLD: Final = None
_WORDS = Words(_URL, created="run `relay setup`", login=", which is read again at each connect")
_OF_CODES = MappingProxyType(
    {
        "25006": _WORDS.no_writes(),
        "53100": ("a disk of Postgres is full", "free space; a slot that nobody reads keeps WAL: `relay status`"),
        "53300": (
            "Postgres has no session left",
            "raise max_connections, or lower WRITERS_POOL_SIZE: each instance has so many sessions",
        ),
    }
)


def address(url: str, *, name: str) -> str:
    """Return the connection string for `url`, with `name` as application_name whatever `url` says.

    Several hosts are tried for the first that takes writes, unless `url` says else.
    """
    return make_conninfo(conninfo_for_writes(url), application_name=name)


def kind(failed: Callable[[psycopg.Error, str], Awaitable[None]]) -> type[Session]:
    """Return the class of the pool's sessions; `failed` gets each error of a connect, and the connection string."""

    class Connecting(psycopg.AsyncConnection[DictRow]):
        @classmethod
        async def connect(cls, conninfo: str = "", **_: Any) -> Self:  # noqa: ANN401 - the pool's
            try:
                session = await super().connect(conninfo, row_factory=dict_row, prepare_threshold=_PREPARE_THRESHOLD)
                await _require_writable(session)
            except psycopg.Error as error:
                await failed(error, conninfo)
                raise
            return session

    return Connecting


def good(session: Session) -> bool:
    """Return whether `session`, which nobody uses, is still connected and takes writes, as far as this side knows.

    A server that ends a session says so, and nobody has read it. No statement is sent to find out.
    https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC
    """
    waiting = select.poll()
    try:
        waiting.register(session.pgconn.socket, select.POLLIN)
        while waiting.poll(0):
            session.pgconn.consume_input()
    except psycopg.Error:
        return False
    return not has_become_read_only(session)


def explained(error: psycopg.Error, conninfo: str) -> tuple[str, str]:
    """Return why there is no session, or none of use, and what to do. It may connect, so call it in a thread."""
    if error.sqlstate is None and isinstance(error, psycopg.OperationalError):
        what, remedy = _WORDS.refusal(refusal(error, conninfo))
    else:
        what, remedy = refused(error)
    return f"{what}: {message(error)}", remedy


def refused(error: psycopg.Error) -> tuple[str, str]:
    """Return what Postgres refuses in a session, and what to do."""
    if error.sqlstate is None:
        return "the connection was lost", "see Postgres' log"
    return _OF_CODES.get(error.sqlstate, (f"Postgres refuses ({error.sqlstate})", "see Postgres' log"))


async def _require_writable(session: Session) -> None:
    """Close `session` and raise ReadOnlySqlTransaction (25006) if it cannot write: it would stay so all its life."""
    refusal = "there is no answer"
    try:
        facts = await (await session.execute(sql.query("session_facts"))).fetchone()
        await session.rollback()
        if facts is not None:
            refusal = _unwritable(facts)
    finally:
        if refusal:
            await session.close()
    if refusal:
        raise psycopg.errors.ReadOnlySqlTransaction(refusal)


def _unwritable(facts: DictRow) -> str:
    if facts["standby"]:
        return "the server is a standby"
    return "default_transaction_read_only is on" if facts["read_only"] else ""
