"""Tasks and events are values with ids from the start; they never change."""

from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime

import pytest

from writers import NewEvent, NewTask


def test_every_task_and_event_has_an_id_of_its_own() -> None:
    ids = {NewTask("a").id for _ in range(100)} | {NewEvent("order", "1", 1, "paid").id for _ in range(100)}
    assert len(ids) == 200


def test_a_record_cannot_be_changed_but_can_be_copied_with_a_change() -> None:
    task = NewTask("a", {"n": 1})
    with pytest.raises(FrozenInstanceError):
        task.type = "b"  # type: ignore[misc]
    assert replace(task, type="b") == NewTask("b", {"n": 1}, id=task.id)


def test_a_time_without_a_zone_is_refused() -> None:
    """It would be another time on another machine."""
    with pytest.raises(ValueError, match="run_at has no time zone: 2030-01-02 03:04:05"):
        NewTask("a", run_at=datetime(2030, 1, 2, 3, 4, 5))  # noqa: DTZ001 - the mistake itself
    NewTask("a", run_at=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))


def test_default_payloads_are_not_shared() -> None:
    assert NewTask("a").payload is not NewTask("a").payload
    assert NewEvent("order", "1", 1, "paid").headers is not NewEvent("order", "1", 1, "paid").headers
