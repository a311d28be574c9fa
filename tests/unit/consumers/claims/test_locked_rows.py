"""When an operator hears of tasks that wait for another transaction."""

from uuid import UUID

from structlog.testing import capture_logs

from consumers.claims.locked_rows import LockedRows
from outboxkit.amqp.format import TaskReference

ONE, TWO = (TaskReference(str(UUID(int=number)), 1) for number in (1, 2))


def test_only_what_has_waited_for_long_is_told_and_not_at_every_look() -> None:
    now = 100.0
    rows = LockedRows(told=10, clock=lambda: now)
    with capture_logs() as logs:
        for now in (100, 101, 109.9):  # noqa: B007 - the clock reads it
            rows.add(ONE)
        assert logs == []
        now = 110.0
        rows.add(TWO)
        assert [(line["tasks"], line["first"], line["seconds"]) for line in logs] == [(1, ONE.task_id, 10)]
        now = 119.0
        rows.add(ONE)
        rows.add(TWO)
        assert len(logs) == 1
        now = 120.0
        rows.add(ONE)
        assert logs[-1]["tasks"] == 2


def test_a_row_that_was_free_meanwhile_waits_anew() -> None:
    now = 0.0
    rows = LockedRows(told=10, clock=lambda: now)
    with capture_logs() as logs:
        rows.add(ONE)
        rows.discard(ONE)
        now = 10.0
        rows.add(ONE)
        assert logs == []
        now = 20.0
        rows.add(ONE)
        assert len(logs) == 1
