"""Which answers of `consumers status` are bad."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from consumers.operating.status.document import Counted, Due, QueueDepth, Status, Waiting

ID = UUID(int=7)
AT = datetime(2026, 1, 1, tzinfo=UTC)
EMPTY = QueueDepth("tasks", 0, 1)
GOOD = Status(Counted({}, [], {}), None, [], None, 0.0, None, EMPTY, QueueDepth("tasks.dead", 5, 0))
READS_EVENTS = {"events_queue": QueueDepth("a.events", 0, 1)}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"queue": QueueDepth("tasks", None, None)}, "queue 'tasks' does not exist"),
        ({"queue": QueueDepth("tasks", 0, 0)}, "no consumer reads queue 'tasks'"),
        ({"events_queue": QueueDepth("a.events", None, None)}, "queue 'a.events' does not exist"),
        ({"events_queue": QueueDepth("a.events", 0, 0)}, "no consumer reads queue 'a.events'"),
        (
            {**READS_EVENTS, "queue": QueueDepth("tasks", None, None), "counted": Counted({"pending": 1}, [], {})},
            "queue 'tasks' does not exist",
        ),
        ({"lease_over": 61.0}, "a claim's lease ended 61 s ago"),
        ({"due_next": Due(ID, "t", AT, -61.0)}, f"task {ID} was due 61 s ago"),
        ({"oldest_pending": Waiting(ID, "t", AT, 301.0)}, f"task {ID} has been pending for 301 s"),
    ],
)
def test_what_nobody_attends_to_is_bad(changed: dict[str, object], said: str) -> None:
    found = replace(GOOD, **changed)  # type: ignore[arg-type]
    assert found.bad is not None
    assert found.bad.startswith(said)
    assert (found.as_json()["ok"], found.as_json()["bad"]) == (False, found.bad)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {**READS_EVENTS, "queue": QueueDepth("tasks", None, None), "counted": Counted({"completed": 3}, [], {})},
        {"lease_over": 59.0},
        {"lease_over": -10.0},
        {"due_next": Due(ID, "t", AT, -59.0)},
        {"due_next": Due(ID, "t", AT, 3600.0)},
        {"oldest_pending": Waiting(ID, "t", AT, 299.0)},
        {"oldest_pending": Waiting(ID, "t", AT, 9999.0), "queue": QueueDepth("tasks", 1000, 1)},
    ],
)
def test_what_is_only_late_is_not_bad(changed: dict[str, object]) -> None:
    found = replace(GOOD, **changed)  # type: ignore[arg-type]
    assert found.bad is None
    assert found.as_json()["ok"] is True
