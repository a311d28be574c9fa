"""The table of SQLSTATEs: what is tried again, what an operator must do, and what is final."""

import psycopg
import pytest
from psycopg import errors

from outboxkit.sqlstates import _CLASSES, _CODES, Recovery, recovery


@pytest.mark.parametrize(
    "error",
    [
        errors.ConnectionFailure,
        errors.ProtocolViolation,
        errors.SerializationFailure,
        errors.DeadlockDetected,
        errors.LockNotAvailable,
        errors.ObjectInUse,
        errors.IdleInTransactionSessionTimeout,
        errors.TransactionTimeout,
        errors.TooManyConnections,
        errors.QueryCanceled,
        errors.IdleSessionTimeout,
        errors.AdminShutdown,
        errors.CrashShutdown,
        errors.CannotConnectNow,
    ],
)
def test_what_passes_by_itself_is_transient(error: type[psycopg.Error]) -> None:
    assert recovery(error.sqlstate) is Recovery.TRANSIENT


def test_a_failure_of_libpq_itself_is_transient() -> None:
    assert recovery(psycopg.OperationalError.sqlstate) is Recovery.TRANSIENT


@pytest.mark.parametrize(
    "error",
    [
        errors.ReadOnlySqlTransaction,
        errors.InvalidAuthorizationSpecification,
        errors.InvalidPassword,
        errors.InsufficientPrivilege,
        errors.InsufficientResources,
        errors.DiskFull,
        errors.OutOfMemory,
        errors.ConfigurationLimitExceeded,
        errors.IoError,
    ],
)
def test_what_an_operator_can_change_waits_for_an_operator(error: type[psycopg.Error]) -> None:
    assert recovery(error.sqlstate) is Recovery.OPERATOR


@pytest.mark.parametrize(
    "error",
    [
        errors.DivisionByZero,
        errors.UniqueViolation,
        errors.InFailedSqlTransaction,
        errors.InvalidCatalogName,
        errors.InvalidSchemaName,
        errors.UndefinedTable,
        errors.UndefinedFunction,
        errors.UndefinedColumn,
        errors.UndefinedObject,
        errors.ProgramLimitExceeded,
        errors.ObjectNotInPrerequisiteState,
        errors.UndefinedFile,
        errors.DatabaseDropped,
        errors.InternalError_,
    ],
)
def test_what_fails_again_is_final(error: type[psycopg.Error]) -> None:
    assert recovery(error.sqlstate) is Recovery.FINAL


@pytest.mark.parametrize("code", ["", "ZZ999", "5"])
def test_a_code_that_postgres_does_not_have_is_final(code: str) -> None:
    assert recovery(code) is Recovery.FINAL


def test_every_code_and_class_of_the_table_exists() -> None:
    for code in _CODES:
        assert errors.lookup(code).sqlstate == code
    for class_ in _CLASSES:
        assert errors.lookup(f"{class_}000").sqlstate == f"{class_}000"
