"""Checks of the Postgres server and of the consumers' sessions. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from outboxkit.checks.finding import Check, Verdict, fail, ok, warn

_OLDEST = 140000
_CLOCK_SECONDS = 5.0
_SHORT_STATEMENT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """Facts about the server and the session that asked for them; `settings` are in the units of pg_settings."""

    version_number: int
    version: str
    standby: bool
    read_only: bool
    pid: int
    login_pid: int
    clock: float
    ahead: float
    """By how many seconds the database's clock is ahead of ours."""
    unsure: float
    role: str
    role_limit: int
    sessions: int
    role_sessions: int
    settings: Mapping[str, str]
    most: int
    """How many sessions a consumer has at most; see checks/sessions.py."""
    lease: float

    @property
    def pooled(self) -> bool:
        """Whether a pooler is in between: it gives a pid at login that is not the session's."""
        return self.pid != self.login_pid

    def seconds(self, name: str) -> float:
        """Return a timeout in seconds; 0 if it is off, or this version does not have it."""
        return int(self.settings.get(name, "0")) / 1000


def version(server: Server) -> Verdict:
    """Judge the server's version."""
    if server.version_number < _OLDEST:
        return fail(
            f"PostgreSQL {server.version} is too old",
            remedy="upgrade to PostgreSQL 14 or later",
            version=server.version,
        )
    return ok(f"PostgreSQL {server.version}", version=server.version)


def writable(server: Server) -> Verdict:
    """Judge whether the session can write."""
    facts = {"standby": server.standby, "read_only": server.read_only}
    if server.standby:
        return fail(
            "this server is a standby, and takes no writes",
            remedy="name the primary, or all hosts, in CONSUMERS_DATABASE_URL",
            **facts,
        )
    if server.read_only:
        return fail(
            "default_transaction_read_only is on: the consumers cannot write",
            remedy="take it back where it was set: ALTER DATABASE, ROLE or SYSTEM ... RESET "
            "default_transaction_read_only",
            **facts,
        )
    return ok("the server accepts writes", **facts)


def pooler(server: Server) -> Verdict:
    """Say whether a pooler is in between, and what that means for handlers. The consumers rely on no session."""
    facts = {"login_pid": server.login_pid, "pid": server.pid}
    if server.pooled:
        return ok(
            "through a pooler: handlers must not use LISTEN, SQL's PREPARE, session-level advisory locks "
            "(pg_advisory_xact_lock works) or SET outside a transaction; the pooler's own limits are unknown",
            **facts,
        )
    return ok("the connection goes to Postgres without a pooler", **facts)


def clock(server: Server) -> Verdict:
    """Judge whether this machine's clock and the database's agree. Leases, due times and locks use only the latter."""
    facts = {"seconds_ahead": round(server.ahead, 3), "unsure_seconds": round(server.unsure, 3)}
    if abs(server.ahead) - server.unsure > _CLOCK_SECONDS:
        way = "ahead of" if server.ahead > 0 else "behind"
        return warn(
            f"the database's clock is {abs(server.ahead):.1f} s {way} this machine's: times in the log and "
            "a `run_at` that is computed here differ by that",
            remedy="synchronise both clocks (NTP); leases and jobs are right meanwhile, since they use the database's",
            **facts,
        )
    return ok("the clocks of database and consumer agree", **facts)


def statement_timeout(server: Server) -> Verdict:
    """Judge whether statements of consumers may be ended too early."""
    seconds = server.seconds("statement_timeout")
    if 0 < seconds < _SHORT_STATEMENT_SECONDS:
        return warn(
            f"statement_timeout is {seconds:g} s: a batch's statement that takes longer is tried again, "
            "and a handler's statement fails",
            remedy="ALTER ROLE <the consumers' role> SET statement_timeout = 0, or a time of 10 s or more",
            seconds=seconds,
        )
    return ok("statements have the time that they need", seconds=seconds)


def _of_a_transaction(name: str) -> Callable[[Server], Verdict]:
    """Return the check of a timeout that ends the session of a handler in a transaction."""

    def judge(server: Server) -> Verdict:
        seconds = server.seconds(name)
        if 0 < seconds < server.lease:
            return warn(
                f"{name} is {seconds:g} s, less than CONSUMERS_LEASE: it ends the session of a handler in a "
                "transaction that takes longer, which counts as an attempt",
                remedy=f"ALTER ROLE <the consumers' role> SET {name} = 0, or longer than the longest handler",
                seconds=seconds,
            )
        return ok(f"{name} leaves handlers at least their lease" if seconds else f"{name} is off", seconds=seconds)

    return judge


def idle_session_timeout(server: Server) -> Verdict:
    """Judge whether idle sessions of consumers are ended."""
    seconds = server.seconds("idle_session_timeout")
    if seconds:
        return warn(
            f"idle_session_timeout is {seconds:g} s: sessions of an idle consumer end, and it connects again",
            remedy="ALTER ROLE <the consumers' role> SET idle_session_timeout = 0",
            seconds=seconds,
        )
    return ok("idle_session_timeout is off", seconds=seconds)


def synchronous_commit(server: Server) -> Verdict:
    """Judge whether what was acked survives a crash of Postgres."""
    value = server.settings.get("synchronous_commit", "on")
    if value == "off":
        return warn(
            "synchronous_commit is off: a crash of Postgres takes back completions whose deliveries are acked; these "
            "tasks run again when their leases expire, though their handlers ran",
            remedy="ALTER ROLE <the consumers' role> SET synchronous_commit = on",
            value=value,
        )
    return ok(f"synchronous_commit is {value}: an acked delivery's outcome is on disk", value=value)


CHECKS = (
    Check("postgres.version", version),
    Check("postgres.writable", writable),
    Check("postgres.pooler", pooler),
    Check("postgres.clock", clock),
    Check("postgres.statement_timeout", statement_timeout),
    Check("postgres.idle_in_transaction", _of_a_transaction("idle_in_transaction_session_timeout")),
    Check("postgres.transaction_timeout", _of_a_transaction("transaction_timeout")),
    Check("postgres.idle_session", idle_session_timeout),
    Check("postgres.synchronous_commit", synchronous_commit),
)
