"""`relay audit` and what consumers have done: tasks by their rows, events by the inbox; and what it does not judge."""

from typing import LiteralString

import psycopg
import pytest

from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.operating.audit.audit_stage import Played
from tests.integration.relay.stage import Said, one

SUBMIT: LiteralString = "SELECT tasks.submit('effect')::text FROM generate_series(1, %s)"
EVENT_OF: LiteralString = (
    "SELECT id::text FROM outbox.event WHERE aggregate_type = 'task' AND aggregate_id = ANY (%s) ORDER BY seq"
)
CLAIM: LiteralString = """
UPDATE tasks.task SET status = 'running', version = version + 1, attempts = attempts + 1, claimed_by = 'test',
    lease_until = clock_timestamp() + interval '1 hour', updated_at = clock_timestamp() WHERE id = %s::uuid
"""
APPLY: LiteralString = "INSERT INTO inbox.message (consumer, message_id) SELECT %s, unnest(%s::text[])"
ADVANCE: LiteralString = (
    "INSERT INTO inbox.position (consumer, aggregate_type, aggregate_id, version) VALUES (%s, 'order', %s, %s)"
)
PARK: LiteralString = """
INSERT INTO inbox.parked (consumer, message_id, by_version, aggregate_type, aggregate_id, aggregate_version, event_type,
                          routing_key, headers, body, reason, error)
VALUES (%s, %s, false, 'order', '1', 1, 'paid', 'order.paid', '{}', '', 'failed', '')
"""


@pytest.fixture
def played(ready: Isolated) -> Played:
    """Return an outbox with a record of confirms and one position of the past."""
    found = Played(ready)
    found.publish()
    found.note()
    return found


def submit(played: Played, count: int) -> tuple[list[str], list[str]]:
    """Submit tasks; return their ids, and those of their events."""
    with psycopg.connect(played.url) as connection:
        ids = [row[0] for row in connection.execute(SUBMIT, [count])]
    with psycopg.connect(played.url) as connection:
        return ids, [row[0] for row in connection.execute(EVENT_OF, [ids])]


def after_the_grace(played: Played) -> Said:
    """Return the audit of a moment when every confirm is older than the grace of the stage."""
    played.note()
    until(
        lambda: one(played.url, "SELECT max(at) < clock_timestamp() - interval '1.1 s' FROM relay.confirmed"),
        what="every confirm is a second old", seconds=30,
    )  # fmt: skip
    return played.audit()


def not_applied(said: Said) -> dict[str, list[str]]:
    return {each["id"]: each["by"] for each in said.json["not_applied"]}


def test_a_task_is_not_applied_while_it_is_pending_at_the_version_of_its_event(played: Played) -> None:
    tasks, events = submit(played, 4)
    played.publish(events)
    played.run(CLAIM, tasks[0])
    played.run("SELECT tasks.cancel(%s::uuid)", tasks[1])
    said = after_the_grace(played)
    assert (said.code, said.json["verdict"]) == (3, "not applied")
    assert not_applied(said) == {event: ["tasks"] for event in events_of(played, tasks[2:])}
    assert (said.json["totals"]["judged"], said.json["totals"]["not_applied"]) == (4, 2)

    for task in tasks[2:]:
        played.run(CLAIM, task)
    said = played.audit()
    assert (said.code, said.json["verdict"], said.json["totals"]["judged"]) == (0, "clean", 4)


def events_of(played: Played, tasks: list[str]) -> list[str]:
    with psycopg.connect(played.url) as connection:
        return [row[0] for row in connection.execute(EVENT_OF, [tasks])]


def test_within_the_grace_nothing_is_said_of_a_task(played: Played) -> None:
    _, events = submit(played, 2)
    played.publish(events)
    played.note()
    said = played.audit("--grace", "1h")
    assert (said.code, said.json["totals"]["judged"]) == (0, 0)


def test_a_probe_and_a_task_that_is_gone_are_applied(played: Played) -> None:
    tasks, events = submit(played, 1)
    played.run("SELECT tasks.announce(gen_random_uuid(), 'consumers.probe', 1, '{\"x-probe\": true}')")
    with psycopg.connect(played.url) as connection:
        events = [row[0] for row in connection.execute("SELECT id::text FROM outbox.event")]
    played.publish(events)
    played.run("SELECT tasks.cancel(%s::uuid)", tasks[0])
    played.run("DELETE FROM tasks.task")
    said = after_the_grace(played)
    assert (said.code, said.json["totals"]["judged"], said.json["totals"]["not_applied"]) == (0, 2, 0)


def test_a_consumer_is_expected_to_take_what_comes_after_the_first_event_of_a_kind(played: Played) -> None:
    before, first, ids = played.write(2), played.write(1), played.write(4)
    others = played.write(3, "invoice")
    played.publish(before)
    played.publish(first)
    played.publish([*ids, *others])
    played.run(APPLY, "mailer", [*first, *ids[:2]])
    played.run(PARK, "mailer", ids[2])
    played.run(APPLY, "ledger", [])
    said = after_the_grace(played)
    assert said.code == 3
    assert not_applied(said) == {ids[3]: ["mailer"]}
    said = played.audit("--ignore-consumer", "mailer")
    assert (said.code, said.json["totals"]["judged"]) == (0, 0)


def test_a_consumer_that_checks_versions_is_judged_by_its_positions(played: Played) -> None:
    first, ids = played.write(1), played.write(3)
    played.publish(first)
    played.publish(ids)
    played.run(ADVANCE, "orders", "1", 1)
    played.run(ADVANCE, "orders", "3", 7)
    said = after_the_grace(played)
    assert not_applied(said) == {ids[1]: ["orders"]}


def test_what_the_inbox_may_have_forgotten_is_not_judged(played: Played) -> None:
    first, ids = played.write(1), played.write(3)
    for part in (first, ids):
        played.publish(part)
    played.run(APPLY, "mailer", first)
    assert after_the_grace(played).json["totals"]["not_applied"] == 3
    played.run("UPDATE relay.confirmed SET at = at - interval '3 hours'")
    played.run("UPDATE relay.checkpoint_history SET at = at - interval '3 hours'")
    said = played.audit("--since", "4h")
    assert (said.code, said.json["totals"]["confirmed"], said.json["totals"]["judged"]) == (0, 4, 0)


def test_a_role_that_may_not_read_them_is_told_what_was_not_judged(played: Played) -> None:
    played.publish(played.write(1))
    played.note()
    played.run("DROP SCHEMA inbox CASCADE")
    said = played.audit()
    assert said.code == 0
    assert any("consumers are not judged" in note for note in said.json["notes"])
