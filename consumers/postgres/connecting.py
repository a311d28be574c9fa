"""How a consumer connects to Postgres: with which options, and which sessions it refuses.

It relies on nothing of a session that a pooler in transaction mode would not keep: no prepared statements, no SET, no
session locks, no startup parameters but application_name.
"""

from typing import Final, NamedTuple

import psycopg

from outboxkit.postgres import conninfo_for_writes

# A prepared statement lives in a session, and behind a pooler the next statement may be in another one. Without a name,
# a statement is planned each time, with its values: never with a plan that was made when the table was small.
# https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY
PREPARE_THRESHOLD: Final = None


class SessionFacts(NamedTuple):
    """A row of sql/queries/session_facts.sql."""

    standby: bool
    read_only: bool
    pid: int


def address(url: str, *, name: str) -> str:
    """Return the connection string for `url`. Of several hosts, the first that takes writes, unless `url` says else."""
    return conninfo_for_writes(url, application_name=name)


def require_writable(facts: SessionFacts) -> None:
    """Raise ReadOnlySqlTransaction (25006) for a session that cannot write: it would stay so all its life."""
    if facts.standby:
        raise psycopg.errors.ReadOnlySqlTransaction("the server is a standby")
    if facts.read_only:
        raise psycopg.errors.ReadOnlySqlTransaction("default_transaction_read_only is on")
