"""A temporary slot, which lives as long as its session: for who reads the WAL beside the relay, and leaves nothing.

It counts in nobody's budget, and nothing goes on from where it stands.
"""

import psycopg

from outboxkit import sql
from relay.core.errors import SourceRefused
from relay.sources.wal.replication import ReplicationConnection
from relay.sources.wal.stream import Writing
from relay.storage.sessions.refusals import from_postgres
from relay.storage.state import State

CREATED_WITHIN = "10s"
"""How long a new slot waits for the open transactions to end."""
_COPIED_WITHIN = "60s"


class _Nowhere:
    """Stores no position and writes no fence."""

    async def save(self, state: State) -> None:
        """Store nothing; so `state` may be reported as flushed, and the slot advances."""

    async def emit(self, token: str) -> str | None:
        """Write nothing."""


NOWHERE = Writing(_Nowhere(), _Nowhere())
"""What a stream writes that advances its own temporary slot, and nothing else."""


async def copy(connection: ReplicationConnection, of: str, slot: str, plugin: str, *, done: str = "") -> None:
    """Make `slot`, which starts where slot `of` stands; raises SourceUnavailable or SourceRefused.

    `done` is what needs the right to do so, as `from_postgres` knows it.
    """
    timeout = sql.query("statement_timeout"), {"timeout": _COPIED_WITHIN}
    try:
        await connection.execute(timeout, (sql.query("slot_copy"), {"slot": of, "copy": slot, "plugin": plugin}))
    except psycopg.Error as error:
        raise from_postgres(error, slot=of, done=done) from error


async def create(connection: ReplicationConnection, slot: str, plugin: str, *, what: str, remedy: str) -> None:
    """Make `slot`, which starts now; raises SourceRefused when open transactions do not end in time.

    That is told of `what`, with `remedy`.
    """
    timeout = sql.query("statement_timeout"), {"timeout": CREATED_WITHIN}
    try:
        await connection.execute(timeout, (sql.query("slot_create_temporary"), {"slot": slot, "plugin": plugin}))
    except psycopg.errors.QueryCanceled as error:
        raise SourceRefused(
            f"{what} waits for the end of open transactions, and they have not ended for {CREATED_WITHIN}",
            remedy=remedy,
        ) from error
    except psycopg.Error as error:
        raise from_postgres(error, slot=slot) from error
