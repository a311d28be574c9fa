"""psycopg's errors as Problems: by what must change, and never with the row in the text."""

import psycopg
import pytest
from psycopg import errors as postgres

from writers.errors import NotAllowed, NotSetUp, Refused, failed, translated, words


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (postgres.InvalidSchemaName, NotSetUp),
        (postgres.UndefinedTable, NotSetUp),
        (postgres.UndefinedColumn, NotSetUp),
        (postgres.UndefinedFunction, NotSetUp),
        (postgres.InsufficientPrivilege, NotAllowed),
        (postgres.CheckViolation, Refused),
        (postgres.NumericValueOutOfRange, Refused),
        (postgres.ProgramLimitExceeded, Refused),
        (psycopg.DataError, Refused),  # psycopg's own, before anything is sent
    ],
)
def test_an_error_about_the_row_the_schema_or_the_role_is_a_problem(
    error: type[psycopg.Error], problem: type[Exception]
) -> None:
    with pytest.raises(problem, match="planted"), translated():
        raise error("planted")


@pytest.mark.parametrize("error", [psycopg.OperationalError, postgres.AdminShutdown, postgres.InternalError_])
def test_other_errors_stay_the_callers_own(error: type[psycopg.Error]) -> None:
    with pytest.raises(error, match="planted"), translated():
        raise error("planted")


def test_a_final_error_names_its_sqlstate() -> None:
    assert failed(postgres.InternalError_("cache lookup\nfailed")).what == (
        "Postgres cannot write the tasks (XX000: cache lookup failed)"
    )


def test_the_words_of_an_error_are_never_empty() -> None:
    assert words(psycopg.OperationalError()) == "OperationalError"
