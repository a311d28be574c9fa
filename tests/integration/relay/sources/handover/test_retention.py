"""A partition is dropped once all of it is published: it is locked, then checked, then dropped."""

import threading
from typing import Any

import pytest

from tests.integration.relay.sources.handover.scene import Scene

_CHECK = "IF outbox.unseen(name, before || ARRAY(SELECT snapshot FROM outbox.published())) THEN"


@pytest.mark.parametrize("checks", [True, False], ids=["right", "checked before the lock only"])
def test_a_row_that_commits_while_the_drop_waits_for_its_lock_is_not_dropped(scene: Scene, checks: bool) -> None:  # noqa: FBT001
    definition = scene.value("SELECT pg_get_functiondef('outbox.drop_partition'::regproc)")
    assert _CHECK in definition
    patient = definition.replace("'500ms'", "'60s'")  # a busy machine is no reason to give up
    assert patient != definition
    scene.execute(patient if checks else patient.replace(_CHECK, "IF false THEN"))
    scene.begin()
    scene.execute(
        "CREATE TABLE outbox.event_old PARTITION OF outbox.event FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')"
    )
    writer = scene.writer()
    writer.execute(
        "INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload, created_at)"
        " VALUES ('thing', 'late', 1, 'changed', '{}', '2020-01-01 12:00+00')"
    )
    answers: list[Any] = []
    dropping = threading.Thread(
        target=lambda: answers.append(scene.value("SELECT outbox.drop_partition('event_old', '1 day')"))
    )
    dropping.start()
    scene.when(
        "SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        what="the drop waits for the writer",
    )
    writer.commit()
    dropping.join()
    with scene.relay() as relay:
        relay.reads_on()
        scene.write("behind")
        scene.has("behind")
    if checks:
        assert "late" in {each.name for each in scene.published}
        assert answers == ["an event was written into it just now"]
    else:
        assert "late" not in {each.name for each in scene.published}, "the control: it is lost"
        assert answers == [None]
