"""Checks of the connection to Postgres: encryption, verification, and whether it goes through a pooler. Pure.

A pooler is recognised by the pid that the client gets at login (BackendKeyData): Postgres sends the pid of the session,
PgBouncer 1.18 was seen to send another one. A plain TCP proxy forwards the server's pid, and does no harm.
https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
"""

from collections.abc import Sequence
from dataclasses import dataclass

from outboxkit.amqp.tls import is_loopback
from outboxkit.checks.finding import Check, Verdict, ok, warn


@dataclass(frozen=True, slots=True)
class PostgresConnection:
    """How the plain connection to Postgres was made."""

    hosts: Sequence[str]
    """Those of the URL. A path is the directory of a Unix socket."""
    sslmode: str
    encrypted: bool
    client_pid: int
    """The pid that the client got at login."""
    server_pid: int
    """The result of pg_backend_pid()."""

    @property
    def pooled(self) -> bool:
        """Whether a pooler is in between."""
        return self.client_pid != self.server_pid

    @property
    def remote(self) -> list[str]:
        """The hosts that are another machine, judged by their names."""
        return [host for host in self.hosts if not host.startswith(("/", "@")) and not is_loopback(host)]


def tls(connection: PostgresConnection) -> Verdict:
    """Judge whether the connection is encrypted, and the server verified."""
    facts = {"hosts": list(connection.hosts), "sslmode": connection.sslmode, "encrypted": connection.encrypted}
    if not connection.remote:
        return ok("Postgres is on this machine", **facts)
    where = ", ".join(connection.remote)
    remedy = "set sslmode=verify-full and sslrootcert in RELAY_DATABASE_URL"
    if not connection.encrypted:
        return warn(
            f"the connection to {where} is not encrypted: the network can read every event", remedy=remedy, **facts
        )
    if connection.sslmode != "verify-full":
        return warn(f"sslmode={connection.sslmode} does not verify the identity of {where}", remedy=remedy, **facts)
    return ok(f"the connection to {where} is encrypted and verified", **facts)


def pooler(connection: PostgresConnection) -> Verdict:
    """Judge whether the connection goes to Postgres itself."""
    facts = {"client_pid": connection.client_pid, "server_pid": connection.server_pid}
    if not connection.pooled:
        return ok("the connection goes to Postgres without a pooler", **facts)
    return warn(
        f"the connection goes through a pooler: pid {connection.client_pid} at login, then {connection.server_pid}",
        remedy="set RELAY_DATABASE_URL to the server: a pooler hides lost connections, and may refuse replication",
        **facts,
    )


CHECKS = (Check("postgres.tls", tls), Check("postgres.pooler", pooler))
