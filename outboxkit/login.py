"""Why Postgres does not let somebody in, or does no more.

libpq gives no SQLSTATE when a login fails, only a text, which is translated. So this asks: whether the server answers
at all, whether it takes a session now, and whether the same user and password get into the database `postgres`, which
almost every server has. It connects again, so it is for the first failure of several. It waits: call it in a thread.
"""

import subprocess
import sys
from enum import Enum, auto
from typing import NamedTuple

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from outboxkit import sql

_ELSEWHERE = "postgres"
_PG_HBA = "pg_hba.conf must let this user into this database from this host"
_PING = "import sys; from psycopg import pq; print(int(pq.PGconn.ping(sys.stdin.buffer.read())))"
_PING_SECONDS = 60
"""How long all of it may take: connect_timeout is for each host, and does not count the look for its address."""


class Refusal(Enum):
    """Why there is no session."""

    UNREACHABLE = auto()
    """No server answers there."""
    NOT_YET = auto()
    """It starts, stops or recovers."""
    NO_PASSWORD = auto()
    """It wants a password, and none was given."""
    NO_DATABASE = auto()
    """User and password are right, and the server has no such database."""
    NO_CONNECT = auto()
    """User and password are right, and the role may not use this database."""
    PASSED = auto()
    """It takes a session now: the one that failed was lost, or was refused for a moment."""
    LOGIN = auto()
    """It refuses user or password, or pg_hba.conf has no line for them; or it refuses for a while."""


def refusal(error: psycopg.Error, conninfo: str) -> Refusal:
    """Return why connecting with `conninfo` raised `error`."""
    answer = _ping(conninfo)
    if answer != pq.Ping.OK:
        return Refusal.NOT_YET if answer == pq.Ping.REJECT else Refusal.UNREACHABLE
    if error.pgconn is not None and error.pgconn.needs_password:
        return Refusal.NO_PASSWORD
    return _refused(conninfo)


class Words(NamedTuple):
    """What a program says of a session that it does not get."""

    setting: str
    """The variable with the URL, such as CONSUMERS_DATABASE_URL."""
    created: str
    """What to do after the database was created."""
    login: str = ""
    """More about user and password, in the remedy for a login that is refused."""

    def refusal(self, why: Refusal) -> tuple[str, str]:
        """Return what is wrong, and what to do."""
        name = self.setting
        return {
            Refusal.UNREACHABLE: (
                "Postgres is not reachable",
                f"check that it runs, and host and port in {name}, and the network between",
            ),
            Refusal.NOT_YET: ("Postgres starts, stops or recovers", "wait until it accepts connections; see its log"),
            Refusal.PASSED: ("the session failed, and Postgres takes one now", "see Postgres' log"),
            Refusal.NO_PASSWORD: (
                "Postgres wants a password",
                f"write it into {name} or into the file of {name}_FILE",
            ),
            Refusal.NO_DATABASE: (
                "the database does not exist",
                f"correct its name in {name}; or create it, and {self.created}",
            ),
            Refusal.NO_CONNECT: (
                "the role may not connect to this database",
                "as its owner: GRANT CONNECT ON DATABASE <database> TO <role>",
            ),
            Refusal.LOGIN: (
                "Postgres refuses the login",
                f"correct user and password in {name} or in the file of {name}_FILE{self.login}; {_PG_HBA}",
            ),
        }[why]

    def no_writes(self) -> tuple[str, str]:
        """Return the same for a session that is read-only (25006)."""
        return "Postgres takes no writes", (
            f"a standby: name the primary, or all hosts, in {self.setting}; otherwise take the setting back: "
            "ALTER DATABASE, ROLE or SYSTEM ... RESET default_transaction_read_only"
        )


def _ping(conninfo: str) -> pq.Ping:
    """Return what PQping says; from a process of its own, since libpq waits in it, and psycopg keeps the GIL meanwhile.

    No thread of this process would run until the server answers: no heartbeat, no lease, no signal handler. If the
    process cannot start, or gives no answer, that is NO_ATTEMPT: the caller has failed to connect, and tries again.
    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PQPING
    """
    command = (sys.executable, "-P", "-c", _PING)
    try:
        asked = subprocess.run(  # noqa: S603 - our own
            command, input=conninfo.encode(), capture_output=True, check=True, timeout=_PING_SECONDS
        )
        return pq.Ping(int(asked.stdout))
    except (OSError, subprocess.SubprocessError, ValueError):
        return pq.Ping.NO_ATTEMPT


def _refused(conninfo: str) -> Refusal:
    if _admits(conninfo):
        return Refusal.PASSED
    wanted = str(conninfo_to_dict(conninfo).get("dbname") or "")
    if wanted in {"", _ELSEWHERE}:
        return Refusal.LOGIN
    try:
        with _session(make_conninfo(conninfo, dbname=_ELSEWHERE)) as there:
            row = there.execute(sql.query("login_database"), {"name": wanted}).fetchone()
    except psycopg.Error:
        return Refusal.LOGIN
    if row is None:
        return Refusal.NO_DATABASE
    return Refusal.LOGIN if row[0] else Refusal.NO_CONNECT


def _admits(conninfo: str) -> bool:
    try:
        with _session(conninfo):
            return True
    except psycopg.Error:
        return False


def _session(conninfo: str) -> psycopg.Connection:
    return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)
