"""When an operator hears of tasks that wait for another transaction, and how many deliveries wait."""

from uuid import UUID

from structlog.testing import capture_logs

from consumers.claims.locked_rows import LockedRows
from outboxkit.amqp.consuming.deliveries import Delivery

ONE, TWO = (str(UUID(int=number)) for number in (1, 2))


def delivery(tag: int) -> Delivery:
    return Delivery(tag, None, None, b"", redelivered=False, routing_key="", generation=1)


def test_only_what_has_waited_for_long_is_told_and_not_at_every_look() -> None:
    now = 100.0
    rows = LockedRows(told=10, clock=lambda: now)
    with capture_logs() as logs:
        for now in (100, 101, 109.9):  # noqa: B007 - the clock reads it
            rows.add(delivery(1), ONE)
        assert logs == []
        now = 110.0
        rows.add(delivery(2), TWO)
        assert [(line["tasks"], line["first"], line["seconds"]) for line in logs] == [(1, ONE, 10)]
        now = 119.0
        rows.add(delivery(1), ONE)
        rows.add(delivery(2), TWO)
        assert len(logs) == 1
        now = 120.0
        rows.add(delivery(1), ONE)
        assert logs[-1]["tasks"] == 2


def test_a_row_that_was_free_meanwhile_waits_anew() -> None:
    now = 0.0
    rows = LockedRows(told=10, clock=lambda: now)
    with capture_logs() as logs:
        assert [rows.add(delivery(1), ONE), rows.add(delivery(1), ONE)] == [True, False]
        rows.discard(delivery(1))
        now = 10.0
        assert rows.add(delivery(1), ONE)
        assert logs == []
        now = 20.0
        rows.add(delivery(1), ONE)
        assert len(logs) == 1


def test_copies_of_a_message_are_as_many_deliveries_and_one_task() -> None:
    now = 0.0
    rows = LockedRows(told=10, clock=lambda: now)
    for tag in (1, 2, 3):
        rows.add(delivery(tag), ONE)
    now = 5.0
    rows.add(delivery(4), TWO)
    assert [len(rows.waiting(at_least=each)) for each in (0, 1, 6)] == [4, 3, 0]
    now = 10.0
    with capture_logs() as logs:
        rows.add(delivery(1), ONE)
    assert [line["tasks"] for line in logs] == [1]
