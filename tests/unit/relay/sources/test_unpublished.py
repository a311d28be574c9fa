"""Which notices say that pgoutput has left out a change, as PostgreSQL 18 and later do."""

from types import SimpleNamespace
from typing import cast

import pytest
from psycopg.errors import Diagnostic, UndefinedObject

from relay.sources.wal.unpublished import left_out


def notice(severity: str, code: str, file: str = "pgoutput.c") -> Diagnostic:
    texts = {"message_primary": "la publication « relay » est ignorée", "message_detail": "Elle n'existe pas."}
    return cast("Diagnostic", SimpleNamespace(severity_nonlocalized=severity, sqlstate=code, source_file=file, **texts))


def test_the_warning_about_a_missing_publication_is_the_error_of_an_older_server_in_any_language() -> None:
    error = left_out(notice("WARNING", "55000"))
    assert isinstance(error, UndefinedObject)
    assert str(error) == "la publication « relay » est ignorée: Elle n'existe pas."


@pytest.mark.parametrize(
    ("severity", "code", "file"),
    [
        ("NOTICE", "55000", "pgoutput.c"),
        ("WARNING", "01000", "pgoutput.c"),
        ("WARNING", "55000", "slot.c"),  # a standby of synchronized_standby_slots is away: the stream waits for it
    ],
)
def test_no_other_notice_ends_a_stream(severity: str, code: str, file: str) -> None:
    assert left_out(notice(severity, code, file)) is None
