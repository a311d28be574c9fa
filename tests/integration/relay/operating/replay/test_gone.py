"""What cannot be replayed from the table: positions and events that are not kept, and those of others."""

import re
import signal

import psycopg

from sandbox.machine.waiting import until
from tests.integration.relay.operating.replay.replay_stage import History
from tests.integration.relay.stage import call, environment, one
from tests.support.stage import Stage

_PARTITION = (
    "CREATE TABLE outbox.event_20200101 PARTITION OF outbox.event FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')"
)
_OLD = """
INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload, created_at)
VALUES ('order', 'old', 1, 'paid', '{}', '2020-01-01 12:00Z') RETURNING id::text
"""


def write_old(history: History) -> str:
    """Commit an event of 2020, which a relay has published, and return its id."""
    with psycopg.connect(history.url, autocommit=True) as connection:
        row = connection.execute(_OLD).fetchone()
        connection.execute("UPDATE relay.checkpoint SET snapshot = pg_current_snapshot(), mode = 'polling'")
        assert row is not None
        return str(row[0])


def retire(history: History) -> None:
    """Drop the partition of 2020; while somebody has a lock on the outbox, it is tried again."""

    def dropped() -> bool:
        assert call(environment(history.isolated, RELAY_SOURCE="polling"), "retention", "run").code == 0
        return bool(one(history.url, "SELECT sum(events) FROM outbox.retired") == 1)

    until(dropped, what="the partition is dropped", seconds=60)


def test_a_position_before_a_dropped_partition_is_refused_with_the_oldest_and_that_works(history: History) -> None:
    with psycopg.connect(history.url, autocommit=True) as connection:
        connection.execute(_PARTITION)
    first = history.note()
    gone = write_old(history)
    history.note()
    wanted = history.publish("a")
    retire(history)
    history.note()
    for begin in (["--from-lsn", first], ["--from-event", gone]):
        said = history.replay(*begin)
        assert said.code == 1, said.output
    said = history.replay("--from-lsn", first)
    named = re.search(r"--from-time '([^']+)'", said.output)
    assert named is not None, said.output
    assert history.replay("--from-time", named[1]).code == 0
    assert history.ids() == wanted


def test_a_time_before_the_first_position_is_refused_with_what_is_known(history: History) -> None:
    history.publish("a")
    said = history.replay("--from-time", "2020-01-01")
    assert (said.code, "--from-event" in said.output) == (1, True)
    history.note()
    said = history.replay("--from-time", "2020-01-01")
    named = re.search(r"--from-time '([^']+)'", said.output)
    assert said.code == 1
    assert named is not None, said.output
    assert history.replay("--from-time", named[1]).code == 0


def test_a_position_ahead_of_the_wal_is_of_another_server_or_timeline(history: History) -> None:
    said = history.replay("--from-lsn", "FFFF/0")
    assert (said.code, "ahead of the server's WAL" in said.output) == (2, True)


def test_positions_of_another_system_do_not_count_and_its_stored_position_is_refused(history: History) -> None:
    lsn = history.note()
    with psycopg.connect(history.url) as connection:
        connection.execute("UPDATE relay.checkpoint_history SET system_identifier = '1'")
    assert history.replay("--from-lsn", lsn).code == 1
    with psycopg.connect(history.url) as connection:
        connection.execute("UPDATE relay.checkpoint SET system_identifier = '1'")
    said = history.replay("--from-lsn", lsn)
    assert (said.code, "the position was stored on system 1" in said.output) == (1, True)


def test_an_event_that_is_not_there_is_named(history: History) -> None:
    said = history.replay("--from-event", "4e8d2a56-0000-4000-8000-000000000000")
    assert (said.code, "is not in outbox.event" in said.output) == (1, True)


def test_one_begin_is_needed_and_at_most_one_end_and_one_destination(history: History) -> None:
    lsn = history.note()
    for arguments in (
        [],
        ["--from-lsn", lsn, "--from-time", "1h"],
        ["--from-lsn", lsn, "--to-lsn", lsn, "--to-time", "1h"],
        ["--from-lsn", "nonsense"],
        ["--from-time", "nonsense"],
        ["--from-lsn", lsn, "--exchange", "a", "--queue", "b"],
        ["--from-lsn", lsn, "--rate", "0"],
        ["--from-lsn", lsn, "--aggregate", ":1"],
    ):
        assert history.replay(*arguments).code == 2, arguments


def test_a_job_whose_events_were_removed_before_it_was_resumed_fails_and_says_so(
    history: History, stage: Stage
) -> None:
    with psycopg.connect(history.url, autocommit=True) as connection:
        connection.execute(_PARTITION)
    first = history.note()
    history.publish("a", *map(str, range(1000)))  # for a minute: it must not have ended when it is interrupted
    write_old(history)  # the last one of the range
    history.note()
    replay = stage.start("relay", "replay", "--from-lsn", first, "--rate", "20", "--yes")
    history.tap.grows(5, seconds=60)
    replay.process.send_signal(signal.SIGINT)
    assert replay.ended() == 1
    retire(history)
    said = call(environment(history.isolated), "replay", "resume", "1")
    assert (said.code, "1 events that may be in its range were removed" in said.output) == (1, True), said.output
    assert history.jobs()[0]["state"] == "failed"


def test_a_job_whose_events_are_removed_while_it_runs_fails_and_says_so(history: History, stage: Stage) -> None:
    with psycopg.connect(history.url, autocommit=True) as connection:
        connection.execute(_PARTITION)
    first = history.note()
    history.publish("a", *map(str, range(100)))
    write_old(history)
    history.note()
    replay = stage.start("relay", "replay", "--from-lsn", first, "--rate", "10", "--yes", RELAY_POLL_BATCH="10")
    history.tap.grows(5, seconds=60)
    retire(history)
    assert replay.ended(seconds=60) == 1
    assert "1 events that may be in its range were removed" in replay.stderr
    assert history.jobs()[0]["state"] == "failed"
    assert len(history.ids()) == 100  # its last batch has two, and one of them is gone
