"""What an error of Postgres means for the relay, told by its SQLSTATE and never by its text, which is translated.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import psycopg

from outboxkit.errors import Problem
from relay.core.errors import SlotHeld, SlotMissing, SourceRefused, SourceUnavailable


def check_wal_level(level: str) -> None:
    """Raise SourceRefused for a server whose WAL holds too little to decode rows from."""
    if level != "logical":
        raise SourceRefused(
            f"wal_level is {level}, not logical",
            remedy="ALTER SYSTEM SET wal_level = logical, then restart Postgres",
        )


def from_postgres(error: psycopg.Error, *, slot: str) -> Problem:  # noqa: PLR0911 - one return for each answer
    """Translate an error of Postgres into what an operator, or the relay itself, must do about it."""
    words = error.diag.message_primary or str(error).strip()
    match error.sqlstate:
        case "55006":
            return SlotHeld(words, remedy="this relay stands by and takes over when the slot is free")
        case "42704":
            return SlotMissing(
                f"replication slot {slot!r} does not exist",
                remedy="run `relay setup`; it says what to do if the slot existed before",
            )
        case "55000":
            return SlotMissing(
                f"replication slot {slot!r} cannot be used: {words}",
                remedy="run `relay setup`, which says what may have been missed and how to go on",
            )
        case "42501":
            return SourceRefused(
                f"Postgres refuses: {words}",
                remedy="`relay check` names what the relay's role lacks, and sql/roles.sql grants it; setup takes the "
                "owner, redriving takes outbox_operator; if wal2json itself is refused: ALTER SYSTEM SET "
                "output_plugin_libraries = pgoutput, test_decoding, wal2json; SELECT pg_reload_conf()",
            )
        case "54000":
            where = " ".join((error.diag.context or "").split())
            return SourceRefused(
                f"Postgres cannot decode a row of the stream: {words} ({where})",
                remedy="stop the relay, then `relay slot skip` names the transaction and steps over exactly it",
            )
        case "58P01":
            return SourceRefused(
                f"the server has no output plugin: {words}",
                remedy="install wal2json for this server's version (Debian: postgresql-<version>-wal2json)",
            )
        case "42P01" | "3F000" | "42883":
            return SourceRefused(f"the schema is not there: {words}", remedy="run `relay setup`")
        case None | "57P01" | "57P02" | "57P03" | "53300":
            return SourceUnavailable(
                f"Postgres is not available: {words}",
                remedy="check that it runs and that RELAY_DATABASE_URL names it, with the right user and password, "
                "and the right sslrootcert, sslcert and sslkey where it speaks TLS",
            )
        case state if state.startswith("08"):
            return SourceUnavailable(f"the connection to Postgres broke: {words}", remedy="check the network")
        case state:
            return SourceRefused(f"Postgres refuses ({state}): {words}", remedy="see the server's log")
