"""Connection strings with timeouts, and the meaning of psycopg's errors."""

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from outboxkit.postgres import conninfo, message, recovery_of
from outboxkit.sqlstates import Recovery


def test_a_connection_string_gets_timeouts_and_options() -> None:
    read = conninfo_to_dict(conninfo("postgresql://me@host/db", application_name="writers"))
    assert read["application_name"] == "writers"
    assert int(str(read["connect_timeout"])) == 10
    assert int(str(read["tcp_user_timeout"])) == 10_000


def test_what_the_url_sets_itself_wins() -> None:
    url = "postgresql://me@host/db?application_name=mine&connect_timeout=3"
    read = conninfo_to_dict(conninfo(url, application_name="writers"))
    assert (read["application_name"], str(read["connect_timeout"]), read["user"]) == ("mine", "3", "me")


def test_a_timeout_of_the_environment_wins_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "3")
    read = conninfo_to_dict(conninfo("postgresql://me@host/db"))
    assert "connect_timeout" not in read
    assert int(str(read["tcp_user_timeout"])) == 10_000


def test_options_are_left_to_libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=5s")
    assert "options" not in conninfo_to_dict(conninfo("postgresql://me@host/db"))
    url = "postgresql://me@host/db?options=-c%20lock_timeout%3D5s"
    assert conninfo_to_dict(conninfo(url))["options"] == "-c lock_timeout=5s"


@pytest.mark.parametrize(
    ("error", "recovery"),
    [
        (psycopg.OperationalError, Recovery.TRANSIENT),  # libpq lost the connection
        (psycopg.ProgrammingError, Recovery.FINAL),  # a mistake that psycopg found itself
        (psycopg.InterfaceError, Recovery.FINAL),
        (errors.AdminShutdown, Recovery.TRANSIENT),
        (errors.DiskFull, Recovery.OPERATOR),
        (errors.UndefinedTable, Recovery.FINAL),
    ],
)
def test_only_a_lost_connection_is_transient_without_a_sqlstate(error: type[psycopg.Error], recovery: Recovery) -> None:
    assert recovery_of(error()) is recovery


def test_a_message_is_one_line_and_never_empty() -> None:
    assert message(psycopg.OperationalError("connection failed:\n  refused\n")) == "connection failed: refused"
    assert message(psycopg.OperationalError()) == "OperationalError"
