"""What an error of Postgres means for the relay, by its SQLSTATE and never by its text, which is translated.

outboxkit/sqlstates.py says what ends a failure, and so whether the relay ends: at FINAL always, at OPERATOR only at its
start, at TRANSIENT never. What is listed here has words, or an error class, of the relay's own.
"""

from typing import NamedTuple

import psycopg

from outboxkit.errors import Problem
from outboxkit.postgres import recovery_of
from outboxkit.sqlstates import Recovery
from relay.core.errors import (
    PluginRefused,
    RepairNeeded,
    SlotHeld,
    SlotLost,
    SlotMissing,
    SourceRefused,
    SourceUnavailable,
    WalNotLogical,
)


class Meaning(NamedTuple):
    """The Problem for a SQLSTATE.

    Its texts may name {slot}, {sqlstate}, Postgres' {words}, {where} it failed, and which {rights} it needs.
    """

    kind: type[Problem]
    what: str
    remedy: str


_APPENDIX = "https://www.postgresql.org/docs/current/errcodes-appendix.html"
_AWAY = Meaning(
    SourceUnavailable,
    "Postgres is not available: {words}",
    "check that it runs and that RELAY_DATABASE_URL names it, with the right user and password, and the right "
    "sslrootcert, sslcert and sslkey if it uses TLS",
)
_NO_SCHEMA = Meaning(SourceRefused, "the schema is not there: {words}", "run `relay setup`")
_ALLOW = (
    "if the server does not allow wal2json: ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, "
    "wal2json; SELECT pg_reload_conf()"
)
_OPERATOR = "run it as a role that is a member of outbox_operator, which sql/roles.sql creates"
_AUDITOR = "run it as a role that is a member of outbox_operator or outbox_auditor, which sql/roles.sql creates"
_RIGHTS = {
    "setup": "run it as the owner of the schemas relay and outbox and of the outbox table, or as a superuser",
    "making a slot": f"if the role lacks REPLICATION, as a superuser: ALTER ROLE ... REPLICATION; {_ALLOW}",
    "streaming": f"`relay check` names which right is missing; {_ALLOW}",
    "parked": _OPERATOR,
    "replay": _OPERATOR,
    "audit": _AUDITOR,
    "positions": _AUDITOR,
    "slot": "run it as a role with REPLICATION and the rights of the relay's role, which sql/roles.sql grants",
}
"""The rights that 42501 is about, by what was done."""
_OF_THE_RELAY = "`relay check` names what the relay's role lacks, and sql/roles.sql grants it"
_MEANINGS = {
    "55006": Meaning(SlotHeld, "{words}", "this relay stands by and takes over when the slot is free"),
    "42704": Meaning(
        SlotMissing,
        "replication slot '{slot}' does not exist",
        "run `relay setup`; it says what to do if the slot existed before",
    ),
    "55000": Meaning(
        SlotLost,
        "replication slot '{slot}' cannot be used: {words}",
        "run `relay setup`, which says what may have been missed and how to go on",
    ),
    "42501": Meaning(
        RepairNeeded,
        "Postgres refuses: {words}",
        "{rights}",
    ),
    "54000": Meaning(
        SourceRefused,
        "Postgres cannot decode a row of the stream: {words} ({where})",
        "stop the relay, then run `relay slot skip`: it names the transaction, and skips exactly that one",
    ),
    "58P01": Meaning(
        PluginRefused,
        "the server has no output plugin: {words}",
        "install wal2json for this server's version (Debian: postgresql-<version>-wal2json)",
    ),
    "42P01": _NO_SCHEMA,
    "3F000": _NO_SCHEMA,
    "42883": _NO_SCHEMA,
    "42703": Meaning(
        SourceRefused, "the schema is older than this version: {words}", "run `relay setup` of this version"
    ),
    "53100": Meaning(
        RepairNeeded,
        "the server's disk is full: {words}",
        "free space on it; a running relay goes on by itself",
    ),
    "25006": Meaning(
        RepairNeeded,
        "the server takes no writes: {words}",
        "the server is a standby, or default_transaction_read_only is on; a running relay goes on by itself when it "
        "takes writes again",
    ),
    "57P01": _AWAY,
    "57P02": _AWAY,
    "57P03": _AWAY,
    "53300": Meaning(
        SourceUnavailable,
        "Postgres has no session left: {words}",
        "the relay has up to nine sessions: raise CONNECTION LIMIT of its role, or max_connections",
    ),
}
_BROKEN = Meaning(SourceUnavailable, "the connection to Postgres broke: {words}", "check the network")
_NOT_NOW = "Postgres cannot do this now ({sqlstate}): {words}"
_AGAIN = f"a running relay tries again by itself; if that does not help, see Postgres' log and {_APPENDIX}"
_OTHERS = {
    Recovery.FINAL: Meaning(
        SourceRefused, "Postgres refuses ({sqlstate}): {words}", f"see Postgres' log and {_APPENDIX}"
    ),
    Recovery.OPERATOR: Meaning(RepairNeeded, _NOT_NOW, _AGAIN),
    Recovery.TRANSIENT: Meaning(SourceUnavailable, _NOT_NOW, _AGAIN),
}
_MISTAKE = Meaning(SourceRefused, "psycopg refuses: {words}", "this is a bug in the relay: report it")


_FAILOVER_SLOTS = 170000

NOT_THROUGH_A_POOLER = (
    "set RELAY_DATABASE_URL to Postgres itself: the relay needs a replication connection, and sessions that keep their "
    "state and locks"
)


def check_wal_level(level: str) -> None:
    """Raise WalNotLogical for a server whose WAL does not have what logical decoding needs."""
    if level != "logical":
        raise WalNotLogical(
            f"wal_level is {level}, not logical",
            remedy="ALTER SYSTEM SET wal_level = logical, then restart Postgres",
        )


def check_failover(server_version: int, *, wanted: bool) -> None:
    """Raise SourceRefused if the slot should be copied to standbys, and this server has no such slots.

    https://www.postgresql.org/docs/17/logicaldecoding-explanation.html#LOGICALDECODING-REPLICATION-SLOTS-SYNCHRONIZATION
    """
    if wanted and server_version < _FAILOVER_SLOTS:
        raise SourceRefused(
            f"RELAY_SLOT_FAILOVER is on, and this server is PostgreSQL {server_version // 10_000}, which keeps no copy "
            "of a slot on its standbys",
            remedy="unset RELAY_SLOT_FAILOVER: after a failover the relay polls, and makes a new slot; or upgrade to "
            "PostgreSQL 17 or later",
        )


def from_postgres(error: psycopg.Error, *, slot: str, done: str = "") -> Problem:
    """Translate an error of Postgres into what an operator, or the relay itself, must do about it.

    `done` is what needed a right, if it was more than what a running relay does: a key of _RIGHTS.
    """
    meaning = _meaning(error)
    texts = {
        "slot": slot,
        "sqlstate": error.sqlstate,
        "words": error.diag.message_primary or str(error).strip(),
        "where": " ".join((error.diag.context or "").split()),
        "rights": _RIGHTS.get(done, _OF_THE_RELAY),
    }
    return meaning.kind(meaning.what.format_map(texts), remedy=meaning.remedy.format_map(texts))


def _meaning(error: psycopg.Error) -> Meaning:
    sqlstate, recovery = error.sqlstate, recovery_of(error)
    if sqlstate is None:
        return _MISTAKE if recovery is Recovery.FINAL else _AWAY
    if sqlstate.startswith("08"):
        return _BROKEN
    return _MEANINGS.get(sqlstate) or _OTHERS[recovery]
