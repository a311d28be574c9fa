"""Why Postgres does not let somebody in.

libpq gives no SQLSTATE when a login fails, only a text, which is translated. So this asks: whether the server answers
at all, and whether the same user and password get into the database `postgres`, which almost every server has. It
connects once more, so it is for the first failure of several. It waits: call it in a thread.
"""

from enum import Enum, auto
from typing import NamedTuple

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from outboxkit import sql

_ELSEWHERE = "postgres"


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
    LOGIN = auto()
    """It refuses user or password, or pg_hba.conf has no line for them; or it refuses for a while."""


def refusal(error: psycopg.Error, conninfo: str) -> Refusal:
    """Return why connecting with `conninfo` raised `error`."""
    answer = pq.PGconn.ping(conninfo.encode())
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
        match why:
            case Refusal.UNREACHABLE:
                remedy = f"check that it runs, and host and port in {name}, and the network between"
                return "Postgres is not reachable", remedy
            case Refusal.NOT_YET:
                return "Postgres starts, stops or recovers", "wait until it accepts connections; see its log"
            case Refusal.NO_PASSWORD:
                return "Postgres wants a password", f"write it into {name} or into the file of {name}_FILE"
            case Refusal.NO_DATABASE:
                return "the database does not exist", f"correct its name in {name}; or create it, and {self.created}"
            case Refusal.NO_CONNECT:
                remedy = "as its owner: GRANT CONNECT ON DATABASE <database> TO <role>"
                return "the role may not connect to this database", remedy
            case Refusal.LOGIN:
                return "Postgres refuses the login", (
                    f"correct user and password in {name} or in the file of {name}_FILE{self.login}; "
                    "pg_hba.conf must let this user into this database from this host"
                )

    def no_writes(self) -> tuple[str, str]:
        """Return the same for a session that is read-only (25006)."""
        return "Postgres takes no writes", (
            f"a standby: name the primary, or all hosts, in {self.setting}; otherwise take the setting back: "
            "ALTER DATABASE, ROLE or SYSTEM ... RESET default_transaction_read_only"
        )


def _refused(conninfo: str) -> Refusal:
    wanted = str(conninfo_to_dict(conninfo).get("dbname") or "")
    if wanted in {"", _ELSEWHERE}:
        return Refusal.LOGIN
    try:
        with psycopg.connect(
            make_conninfo(conninfo, dbname=_ELSEWHERE), autocommit=True, prepare_threshold=None
        ) as there:
            row = there.execute(sql.query("login_database"), {"name": wanted}).fetchone()
    except psycopg.Error:
        return Refusal.LOGIN
    if row is None:
        return Refusal.NO_DATABASE
    return Refusal.LOGIN if row[0] else Refusal.NO_CONNECT
