"""What an error of Postgres means, by its SQLSTATE alone."""

import psycopg
import pytest

from outboxkit.sqlstates import Recovery, recovery
from relay.core.errors import (
    PluginRefused,
    RepairNeeded,
    SlotHeld,
    SlotLost,
    SlotMissing,
    SourceRefused,
    SourceUnavailable,
)
from relay.storage.sessions.refusals import _MEANINGS, from_postgres


@pytest.mark.parametrize(
    ("error", "meaning", "remedy"),
    [
        (psycopg.errors.ObjectInUse, SlotHeld, "stands by"),
        (psycopg.errors.UndefinedObject, SlotMissing, "relay setup"),
        (psycopg.errors.ObjectNotInPrerequisiteState, SlotLost, "how to go on"),
        (
            psycopg.errors.InsufficientPrivilege,
            RepairNeeded,
            "`relay check` names what the relay's role lacks, and sql/roles.sql grants it",
        ),
        (psycopg.errors.ProgramLimitExceeded, SourceRefused, "relay slot skip"),
        (psycopg.errors.UndefinedFile, PluginRefused, "install wal2json"),
        (psycopg.errors.UndefinedTable, SourceRefused, "relay setup"),
        (psycopg.errors.UndefinedColumn, SourceRefused, "relay setup"),
        (psycopg.errors.AdminShutdown, SourceUnavailable, "RELAY_DATABASE_URL"),
        (psycopg.errors.CannotConnectNow, SourceUnavailable, "RELAY_DATABASE_URL"),
        (psycopg.errors.ConnectionFailure, SourceUnavailable, "network"),
        (psycopg.OperationalError, SourceUnavailable, "RELAY_DATABASE_URL"),
        (psycopg.errors.DivisionByZero, SourceRefused, "Postgres' log"),
        (psycopg.errors.DiskFull, RepairNeeded, "free space"),
        (psycopg.errors.ReadOnlySqlTransaction, RepairNeeded, "default_transaction_read_only"),
        (psycopg.errors.LockNotAvailable, SourceUnavailable, "tries again by itself"),
        (psycopg.errors.QueryCanceled, SourceUnavailable, "tries again by itself"),
        (psycopg.errors.OutOfMemory, RepairNeeded, "tries again by itself"),
        (psycopg.ProgrammingError, SourceRefused, "report it"),
    ],
)
def test_each_state_has_its_meaning_and_its_remedy(
    error: type[psycopg.Error], meaning: type[Exception], remedy: str
) -> None:
    problem = from_postgres(error("the server's words"), slot="outbox_relay")

    assert type(problem) is meaning
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("done", "remedy"),
    [
        ("setup", "as the owner of the schemas relay and outbox"),
        ("making a slot", "REPLICATION"),
        ("streaming", "output_plugin_libraries = pgoutput, test_decoding, wal2json"),
        ("parked", "outbox_operator"),
        ("replay", "outbox_operator"),
        ("audit", "outbox_operator or outbox_auditor"),
        ("positions", "outbox_operator or outbox_auditor"),
        ("status", "`relay check`"),
    ],
)
def test_a_missing_right_has_one_remedy_for_what_was_done(done: str, remedy: str) -> None:
    refused = from_postgres(psycopg.errors.InsufficientPrivilege("no"), slot="s", done=done)
    assert remedy in refused.remedy
    assert ("outbox_operator" in refused.remedy) is (done in {"parked", "replay", "audit", "positions"})
    assert ("output_plugin_libraries" in refused.remedy) is (done in {"making a slot", "streaming"})


@pytest.mark.parametrize("sqlstate", sorted(_MEANINGS))
def test_a_failure_ends_as_the_one_table_says(sqlstate: str) -> None:
    kind = _MEANINGS[sqlstate].kind

    assert issubclass(kind, SourceUnavailable) is (recovery(sqlstate) is not Recovery.FINAL)
    assert issubclass(kind, RepairNeeded) is (recovery(sqlstate) is Recovery.OPERATOR)
