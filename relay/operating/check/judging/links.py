"""What is checked of the way to Postgres: whether it is encrypted and verified, and what stands in it. Pure.

A pooler is told by the pid that the client was given at login (BackendKeyData): Postgres gives its own, and PgBouncer
and its like give one that they made up. Seen with PgBouncer 1.18. A plain TCP proxy passes the server's own on, and
does no harm. https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
"""

from collections.abc import Sequence
from dataclasses import dataclass

from outboxkit.amqp.tls import is_loopback
from relay.operating.check.finding import Check, Verdict, ok, warn


@dataclass(frozen=True, slots=True)
class Link:
    """How the plain connection to Postgres was made."""

    hosts: Sequence[str]
    """Those of the URL; a directory's path is a Unix socket's."""
    sslmode: str
    encrypted: bool
    client_pid: int
    """What the client was told."""
    server_pid: int
    """What pg_backend_pid() says."""

    @property
    def remote(self) -> list[str]:
        """The hosts that are another machine, as far as their names tell."""
        return [host for host in self.hosts if not host.startswith(("/", "@")) and not is_loopback(host)]


def tls(link: Link) -> Verdict:
    """Judge who can read, or pretend to be, what is on the wire."""
    facts = {"hosts": list(link.hosts), "sslmode": link.sslmode, "encrypted": link.encrypted}
    if not link.remote:
        return ok("Postgres is on this machine", **facts)
    where = ", ".join(link.remote)
    remedy = "sslmode=verify-full with sslrootcert in RELAY_DATABASE_URL"
    if not link.encrypted:
        return warn(
            f"the connection to {where} is not encrypted: every event can be read on the way", remedy=remedy, **facts
        )
    if link.sslmode != "verify-full":
        return warn(f"sslmode={link.sslmode} does not verify who answers at {where}", remedy=remedy, **facts)
    return ok(f"the connection to {where} is encrypted and verified", **facts)


def pooler(link: Link) -> Verdict:
    """Judge whether the session is the relay's own."""
    facts = {"client_pid": link.client_pid, "server_pid": link.server_pid}
    if link.client_pid == link.server_pid:
        return ok("no pooler stands before Postgres", **facts)
    return warn(
        f"a pooler stands before Postgres: it gave pid {link.client_pid}, and the session has {link.server_pid}",
        remedy="name the server itself in RELAY_DATABASE_URL: a pooler hides life signs, and may refuse replication",
        **facts,
    )


CHECKS = (Check("postgres.tls", tls), Check("postgres.pooler", pooler))
