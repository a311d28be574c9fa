"""Sessions and prepared transactions that hold up others, in words."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relay.storage.slots.obstacles import Obstacle, ends

SESSION = Obstacle(
    pid=7,
    prepared=None,
    database="shop",
    role="alice",
    application_name="psql",
    state="idle in transaction",
    since=datetime(2026, 11, 20, 22, 12, 57, tzinfo=UTC),
    seconds=90.0,
    waits=False,
)
PREPARED = replace(SESSION, pid=None, prepared="it's", application_name=None, state="prepared")


@pytest.mark.parametrize(
    ("obstacle", "text"),
    [
        (
            SESSION,
            "pid 7 (user alice, database shop, application 'psql', idle in transaction since 2026-11-20 22:12:57 UTC)",
        ),
        (PREPARED, 'prepared transaction "it\'s" (user alice, database shop, prepared since 2026-11-20 22:12:57 UTC)'),
        (
            replace(SESSION, application_name="", state=None, since=None, seconds=None),
            "pid 7 (user alice, database shop, state hidden from this role)",
        ),
    ],
)
def test_it_says_whose_it_is_and_since_when(obstacle: Obstacle, text: str) -> None:
    assert str(obstacle) == text


def test_only_those_that_wait_for_nobody_have_to_be_ended() -> None:
    behind = replace(SESSION, pid=8, waits=True)
    assert ends([behind, SESSION, PREPARED]) == (
        "SELECT pg_terminate_backend(7); in database shop: ROLLBACK PREPARED 'it''s'"
    )
    assert ends([behind]) == "SELECT pg_terminate_backend(8)"
