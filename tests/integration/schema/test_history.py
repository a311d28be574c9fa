"""Positions of the past, and records of what was confirmed: what they say, and how they are kept few."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from sandbox import Isolated

Connection = psycopg.Connection[Any]
ROW = """
    INSERT INTO relay.checkpoint (name, slot, lsn, system_identifier, timeline)
    SELECT 'relay', 's', '0/1', system_identifier::text, 1 FROM pg_control_system()
"""
NOTE = "SELECT relay.note_position('relay', '0')"
PUBLISH = "SELECT outbox.publish('order', '1', 1, 'paid', '{}', id => gen_random_uuid())"


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(ROW)
        yield connection


@pytest.fixture
def other(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url) as connection:
        yield connection


def rows(connection: Connection, question: str, *arguments: object) -> Sequence[tuple[Any, ...]]:
    return connection.execute(question.encode(), arguments).fetchall()


def value(connection: Connection, question: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever is asked for
    return rows(connection, question, *arguments)[0][0]


# Positions.


def test_a_position_separates_what_was_committed_before_it_from_what_began_after_it(
    connection: Connection, other: Connection
) -> None:
    other.execute(PUBLISH)
    slow = value(other, "SELECT pg_current_xact_id()::text")
    before = value(connection, "SELECT pg_current_xact_id()::text")
    start = value(connection, "SELECT pg_current_wal_insert_lsn()::text")
    assert value(connection, NOTE)
    after = value(connection, "SELECT pg_current_xact_id()::text")
    end = value(connection, "SELECT pg_current_wal_insert_lsn()::text")
    other.commit()
    told = rows(
        connection,
        "SELECT pg_visible_in_snapshot(%s::xid8, snapshot), pg_visible_in_snapshot(%s::xid8, snapshot),"
        "       pg_visible_in_snapshot(%s::xid8, snapshot), %s::xid8 < next, %s::xid8 < next,"
        "       lsn BETWEEN %s::pg_lsn AND %s::pg_lsn,"
        "       at BETWEEN clock_timestamp() - interval '1 min' AND clock_timestamp()"
        "  FROM relay.checkpoint_history",
        before, slow, after, slow, after, start, end,
    )  # fmt: skip
    assert told == [(True, False, False, True, False, True, True)]


def test_a_position_says_which_system_it_is_of_and_how_far_the_relay_was(connection: Connection) -> None:
    connection.execute("UPDATE relay.checkpoint SET snapshot = '5:5:'")
    connection.execute(NOTE)
    assert rows(
        connection,
        "SELECT h.mode, h.published_lsn::text, h.published_snapshot::text, h.timeline,"
        "       h.system_identifier = s.system_identifier::text"
        "  FROM relay.checkpoint_history AS h, pg_control_system() AS s",
    ) == [("wal", "0/1", "5:5:", value(connection, "SELECT timeline_id FROM pg_control_checkpoint()"), True)]


def test_replicas_of_a_relay_note_one_position_between_them(connection: Connection) -> None:
    assert [value(connection, "SELECT relay.note_position('relay', '9 s')") for _ in range(3)] == [True, False, False]
    connection.execute("UPDATE relay.checkpoint_history SET at = at - interval '10 s'")
    assert value(connection, "SELECT relay.note_position('relay', '9 s')")


def test_a_clock_that_was_set_back_does_not_end_the_history(connection: Connection) -> None:
    connection.execute(NOTE)
    connection.execute("UPDATE relay.checkpoint_history SET at = at + interval '1 h'")
    assert value(connection, "SELECT relay.note_position('relay', '9 s')")


def test_a_relay_without_a_row_has_no_history(connection: Connection) -> None:
    assert not value(connection, "SELECT relay.note_position('another', '9 s')")


def test_positions_become_fewer_with_age(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO relay.checkpoint_history (relay, at, lsn, snapshot, next, mode, system_identifier, timeline) "
        "SELECT name, clock_timestamp() - n * interval '10 s', '0/1', '5:5:', '5', 'wal', '1', 1 "
        "FROM generate_series(0, 30000) AS n, unnest(ARRAY['relay', 'other']) AS name"
    )
    connection.execute("SELECT relay.thin_positions('relay', '3 d')")
    ages = [
        age
        for (age,) in rows(
            connection, "SELECT clock_timestamp() - at FROM relay.checkpoint_history WHERE relay = 'relay' ORDER BY 1"
        )
    ]
    hour, day, keep = timedelta(hours=1), timedelta(days=1), timedelta(days=3, seconds=30)
    assert sum(age < hour for age in ages) == pytest.approx(360, abs=3)
    assert sum(hour < age < day for age in ages) == pytest.approx(23 * 60, abs=3)
    assert sum(day < age < keep for age in ages) == pytest.approx(48 * 6, abs=3)
    assert max(ages) < keep
    assert value(connection, "SELECT count(*) FROM relay.checkpoint_history WHERE relay = 'other'") == 30001
    assert value(connection, "SELECT relay.thin_positions('relay', '3 d')") <= 2  # the time went on


def test_without_retention_no_position_is_too_old(connection: Connection) -> None:
    connection.execute(NOTE)
    connection.execute("UPDATE relay.checkpoint_history SET at = at - interval '9 years'")
    assert value(connection, "SELECT relay.thin_positions('relay', NULL)") == 0


# Confirms.


def confirmed(connection: Connection, age: str, *seqs: int) -> None:
    connection.execute(
        "INSERT INTO relay.confirmed (relay, at, seqs, ids, ids_hash) "
        "SELECT 'relay', date_trunc('minute', clock_timestamp()) - %s::interval, range_agg(int8range(seq, seq, '[]')),"
        "       array_agg(id), sum(hashtextextended(id::text, 0)::numeric) "
        "FROM (SELECT seq, ('00000000-0000-0000-0000-' || lpad(seq::text, 12, '0'))::uuid AS id"
        "      FROM unnest(%s::bigint[]) AS seq) AS event",
        (age, list(seqs)),
    )


def tidy(connection: Connection, keep: str | None = "7 d") -> int:
    return int(value(connection, "SELECT relay.tidy_confirmed('relay', '1 h', %s)", keep))


def records(connection: Connection) -> Sequence[tuple[Any, ...]]:
    return rows(connection, "SELECT seqs::text, cardinality(ids) FROM relay.confirmed ORDER BY at, number")


def test_records_of_a_minute_become_one_and_mean_the_same(connection: Connection) -> None:
    for age, seqs in [("2 h", (1, 2)), ("119 min 50 s", (4,)), ("119 min 10 s", (3, 9))]:
        confirmed(connection, age, *seqs)
    confirmed(connection, "3 h", 20)
    confirmed(connection, "30 min", 5)
    confirmed(connection, "30 min", 6)
    total = "SELECT sum(ids_hash), sum(relay.count_of(seqs)), range_agg(seqs)::text FROM relay.confirmed"
    before = rows(connection, total)
    assert tidy(connection) == 2
    assert records(connection) == [("{[20,21)}", None), ("{[1,5),[9,10)}", None), ("{[5,6)}", 1), ("{[6,7)}", 1)]
    assert rows(connection, total) == before
    assert tidy(connection) == 0


def test_records_that_share_an_event_stay_apart_since_their_sums_would_count_it_twice(connection: Connection) -> None:
    confirmed(connection, "2 h", 1, 2)
    confirmed(connection, "2 h", 2, 3)
    assert tidy(connection) == 0
    assert records(connection) == [("{[1,3)}", 2), ("{[2,4)}", 2)]


@pytest.mark.parametrize(("keep", "left"), [("1 d", ["{[2,3)}"]), (None, ["{[1,2)}", "{[2,3)}"])])
def test_records_are_kept_as_long_as_events(connection: Connection, keep: str | None, left: list[str]) -> None:
    connection.execute(NOTE)
    connection.execute("UPDATE relay.checkpoint_history SET at = at - interval '23 h'")
    confirmed(connection, "25 h", 1)
    confirmed(connection, "30 min", 2)
    tidy(connection, keep)
    assert [seqs for seqs, _ in records(connection)] == left
