"""tasks.send_probe and tasks.announce_again: which pending tasks are announced again, when, and how often."""

from collections.abc import Iterator
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from sandbox import Isolated

Connection = psycopg.Connection[Any]
NONE: LiteralString = "0 s"
_AGED: LiteralString = """
    BEGIN;
    ALTER TABLE tasks.task DISABLE TRIGGER USER;
    UPDATE tasks.task SET updated_at = updated_at - interval '1 min';
    ALTER TABLE tasks.task ENABLE TRIGGER USER;
    COMMIT
"""


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        yield connection


def submit(connection: Connection) -> UUID:
    ((task_id,),) = connection.execute("SELECT tasks.submit('t')").fetchall()
    return UUID(str(task_id))


def send(connection: Connection, wait: str = NONE) -> UUID | None:
    ((probe,),) = connection.execute("SELECT tasks.send_probe(%s::interval)", [wait]).fetchall()
    return probe  # type: ignore[no-any-return]


def arrive(connection: Connection, probe: UUID | None) -> None:
    assert connection.execute("SELECT tasks.probes_arrived(ARRAY[%s::uuid])", [probe]).fetchall() == [(1,)]


def announce(connection: Connection, wait: str = NONE, at_most: int = 100) -> list[tuple[UUID, int, str]]:
    return connection.execute(
        "SELECT task_id, times, reason FROM tasks.announce_again(%s::interval, %s)", [wait, at_most]
    ).fetchall()


def events(connection: Connection, task_id: UUID) -> list[int]:
    rows = connection.execute(
        "SELECT aggregate_version FROM outbox.event WHERE aggregate_id = %s::text ORDER BY seq", [task_id]
    )
    return [version for (version,) in rows]


def test_a_task_is_announced_again_at_the_same_version_once_a_probe_has_arrived(connection: Connection) -> None:
    lost = submit(connection)
    probe = send(connection)
    assert announce(connection) == [], "the probe is on its way"
    later = submit(connection)
    arrive(connection, probe)
    assert announce(connection) == [(lost, 1, "lost")]
    assert events(connection, lost) == [1, 1]
    assert events(connection, later) == [1], "it was pending after the probe"
    assert connection.execute("SELECT status, version FROM tasks.task WHERE id = %s", [lost]).fetchone() == (
        "pending",
        1,
    )
    assert announce(connection) == [], "the probe has been used"


def test_nothing_is_asked_while_no_task_waits_for_long(connection: Connection) -> None:
    submit(connection)
    assert send(connection, "1 min") is None
    connection.execute(_AGED)
    assert send(connection, "1 min") is not None
    connection.execute("SELECT tasks.cancel(id) FROM tasks.task")
    assert send(connection, "1 min") is None
    assert connection.execute("SELECT FROM tasks.probe").fetchall() == []


def test_a_task_whose_transaction_was_open_when_the_probe_was_written_is_left_alone(
    isolated: Isolated, connection: Connection
) -> None:
    """Its row may be old, but its event follows the commit, and so may come behind the probe."""
    submit(connection)
    with psycopg.connect(isolated.database_url) as writer:
        submit(writer)
        with writer.transaction():  # a savepoint, whose transaction id is greater than that of the whole
            open_one = submit(writer)
        probe = send(connection)
        writer.commit()
    arrive(connection, probe)
    announced = announce(connection)
    assert open_one not in [task_id for task_id, _, _ in announced]
    assert events(connection, open_one) == [1]
    probe = send(connection)
    arrive(connection, probe)
    assert open_one in [task_id for task_id, _, _ in announce(connection)]


def test_deliveries_that_came_with_the_probe_are_given_time(connection: Connection) -> None:
    submit(connection)
    connection.execute(_AGED)
    arrive(connection, send(connection, "30 s"))
    assert announce(connection, "30 s") == []
    assert send(connection, "30 s") is None, "one that has arrived is to be used first"
    connection.execute("UPDATE tasks.probe SET arrived_at = arrived_at - interval '30 s'")
    assert len(announce(connection, "30 s")) == 1


def test_a_probe_that_does_not_arrive_is_followed_by_others_ever_more_rarely(connection: Connection) -> None:
    submit(connection)
    connection.execute(_AGED)
    assert send(connection, "30 s") is not None
    for waited in (30, 60, 120):
        connection.execute("UPDATE tasks.probe SET sent_at = sent_at - make_interval(secs => %s)", [waited - 1])
        assert send(connection, "30 s") is None
        connection.execute("UPDATE tasks.probe SET sent_at = sent_at - interval '1 s'")
        assert send(connection, "30 s") is not None
    connection.execute(
        "INSERT INTO tasks.probe SELECT gen_random_uuid(), '3', sent_at FROM tasks.probe, generate_series(1, 20)"
    )
    connection.execute("UPDATE tasks.probe SET sent_at = sent_at - interval '1 h'")
    assert send(connection, "30 s") is not None, "at least once an hour"


def test_a_task_that_is_lost_again_is_announced_later_and_later(connection: Connection) -> None:
    lost = submit(connection)
    arrive(connection, send(connection, "0.001 s"))
    connection.execute("UPDATE tasks.probe SET arrived_at = arrived_at - interval '1 h'")
    assert announce(connection, "1 h") == [(lost, 1, "lost")]
    for times in (1, 2):
        arrive(connection, send(connection, "0.001 s"))
        connection.execute("UPDATE tasks.probe SET arrived_at = arrived_at - interval '1 h'")
        assert announce(connection, "1 h") == [], "2 ** times hours have not passed"
        connection.execute("UPDATE tasks.reannounced SET at = at - interval '1 h' * 2 ^ %s", [times])
        arrive(connection, send(connection, "0.001 s"))
        connection.execute("UPDATE tasks.probe SET arrived_at = arrived_at - interval '1 h'")
        assert announce(connection, "1 h") == [(lost, times + 1, "lost")]
    assert events(connection, lost) == [1] * 4


def test_a_probe_that_was_on_its_way_before_a_task_was_announced_again_does_not_judge_it(
    connection: Connection,
) -> None:
    lost = submit(connection)
    first, second = send(connection), send(connection)
    arrive(connection, first)
    assert announce(connection) == [(lost, 1, "lost")]
    arrive(connection, second)
    assert announce(connection) == []


def test_so_many_at_a_time_and_those_that_wait_for_longest_first(connection: Connection) -> None:
    lost = [submit(connection) for _ in range(5)]
    arrive(connection, send(connection))
    batches = [announce(connection, at_most=2) for _ in range(4)]
    assert [[task_id for task_id, _, _ in batch] for batch in batches] == [lost[:2], lost[2:4], lost[4:], []]


def test_a_task_that_is_being_claimed_is_passed_over(isolated: Isolated, connection: Connection) -> None:
    held, free = submit(connection), submit(connection)
    arrive(connection, send(connection))
    with psycopg.connect(isolated.database_url) as claiming:
        claiming.execute("SELECT FROM tasks.task WHERE id = %s FOR NO KEY UPDATE", [held])
        assert announce(connection) == [(free, 1, "lost")]


def test_the_reason_is_that_the_relay_has_parked_the_message(connection: Connection) -> None:
    parked, lost = submit(connection), submit(connection)
    connection.execute(
        "INSERT INTO relay.parked (relay, outbox, id, seq, tx, place, aggregate_type, aggregate_id, aggregate_version,"
        " event_type, payload, content_type, headers, exchange, routing_key, created_at, reason, detail)"
        " SELECT 'relay', 'outbox.event', id::text, seq, tx, 0, aggregate_type, aggregate_id, aggregate_version,"
        " event_type, convert_to(payload::text, 'UTF8'), 'application/json', '{}', 'outbox', 'task.pending',"
        " created_at, 'returned', '' FROM outbox.event WHERE aggregate_id = %s::text",
        [parked],
    )
    arrive(connection, send(connection))
    assert sorted(announce(connection), key=str) == sorted([(parked, 1, "parked"), (lost, 1, "lost")], key=str)


def test_what_is_remembered_of_a_task_goes_when_it_is_pending_no_more(connection: Connection) -> None:
    lost = submit(connection)
    arrive(connection, send(connection))
    announce(connection)
    connection.execute("SELECT tasks.cancel(%s)", [lost])
    assert send(connection) is None
    assert connection.execute("SELECT FROM tasks.reannounced").fetchall() == []


def test_a_pending_task_is_found_by_its_index_among_many_that_have_ended(connection: Connection) -> None:
    connection.execute("ALTER TABLE tasks.task DISABLE TRIGGER USER")
    connection.execute("INSERT INTO tasks.task (type, status) SELECT 't', 'completed' FROM generate_series(1, 20000)")
    connection.execute("INSERT INTO tasks.task (type, status) SELECT 't', 'pending' FROM generate_series(1, 20)")
    connection.execute("ALTER TABLE tasks.task ENABLE TRIGGER USER")
    connection.execute("ANALYZE tasks.task")
    arrive(connection, send(connection))
    before = connection.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'task'").fetchall()
    assert len(announce(connection)) == 20
    connection.execute("SELECT pg_stat_force_next_flush()")
    after = connection.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'task'").fetchall()
    assert before == after
