"""Parking on a real Postgres: what is stored, how much at once, and which events are one and the same."""

import json
from typing import Any, LiteralString

import psycopg
import pytest
from msgspec import structs

from outboxkit import sql
from relay.core.event import Defective, Headers, OutboxEvent
from sandbox.lifetime.isolation import Isolated
from tests.integration.relay.stage import one
from tests.integration.relay.storage.parking_stage import asked, park, published, rejected
from tests.support.examples import EVENT


def rows(isolated: Isolated, columns: LiteralString = "id") -> list[Any]:
    with psycopg.connect(isolated.database_url) as connection:
        return connection.execute(b"SELECT %b FROM relay.parked ORDER BY number" % columns.encode()).fetchall()


def execute(isolated: Isolated, statement: LiteralString) -> Any:  # noqa: ANN401 - a row of any columns
    with psycopg.connect(isolated.database_url) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone() if cursor.description else None


def redriven(isolated: Isolated) -> OutboxEvent:
    """Ask for the only row that waits; return the event that the relay then reads."""
    waits: LiteralString = "SELECT number FROM relay.parked WHERE asked_at IS NULL"
    with psycopg.connect(isolated.database_url) as connection:
        row = connection.execute(waits).fetchone()
        assert row is not None
        connection.execute(sql.query("parked_ask"), {"row": row[0], "relay": "relay"})
    (event,) = asked(isolated)
    return event


def test_events_that_are_larger_together_than_a_jsonb_may_be_are_parked_at_once(isolated: Isolated) -> None:
    size = 70_000_000
    events = [structs.replace(EVENT, id=name, payload=name.encode() * size) for name in "ab"]

    park(isolated, [rejected(event, reason="too_large") for event in events])

    for name in "ab":
        stored = "SELECT payload = convert_to(repeat(id, %s), 'UTF8') FROM relay.parked WHERE id = %s"
        assert one(isolated.database_url, stored, size, name)


def test_what_no_jsonb_no_bigint_and_no_text_holds_is_parked_all_the_same(isolated: Isolated) -> None:
    """Parking that Postgres refuses would stop the relay at a row that a table of the application's own may have."""
    written = '{"zero": "\\u0000", "half": "\\ud800", "large": 1e400, "digits": 1' + "0" * 5000 + "}"
    headers = Headers(written, json.loads('{"large": 1e400}'))
    event = structs.replace(
        EVENT, id="odd", seq=10**25, aggregate_id="b\0c", aggregate_version=-(10**25), headers=headers
    )

    park(isolated, [rejected(event)])

    stored = "SELECT (headers::text, seq, aggregate_id, aggregate_version)::text FROM relay.parked WHERE id = 'odd'"
    kept = "SELECT (%s::text, 9223372036854775807, %s::text, -9223372036854775808)::text"
    assert one(isolated.database_url, stored) == one(isolated.database_url, kept, written, "b\ufffdc")


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("[1]", "[1]"),
        ('{"n": 1e400}', '{"n": 1e400}'),
        ("a=b", '"a=b"'),
        ("{", '"{"'),
        ("[" * 100_000, json.dumps("[" * 100_000)),
        ('{"a": NaN}', '"{\\"a\\": NaN}"'),
    ],
)
def test_headers_that_cannot_be_read_are_parked_as_they_are_or_as_a_text(
    isolated: Isolated, text: str, stored: str
) -> None:
    event = structs.replace(EVENT, id="odd", headers=Defective(text, "they cannot be read"))

    park(isolated, [rejected(event, reason="unencodable")])

    assert one(isolated.database_url, "SELECT headers::text FROM relay.parked WHERE id = 'odd'") == stored


def test_an_id_that_no_index_takes_is_parked(isolated: Isolated) -> None:
    for _ in range(2):
        park(isolated, [rejected(structs.replace(EVENT, id=f"{n}{'x' * 100_000}", transaction=800)) for n in range(2)])

    assert [len(row[0]) for row in rows(isolated)] == [100_001, 100_001]


def test_an_id_that_stands_twice_in_a_transaction_is_parked_twice_and_stays_so_when_it_comes_again(
    isolated: Isolated,
) -> None:
    twice = [rejected(structs.replace(EVENT, transaction=800), place=place) for place in (1, 2)]

    for batch in (twice, twice, twice[1:]):
        park(isolated, batch)

    assert rows(isolated, "id, place, times") == [(EVENT.id, 1, 1), (EVENT.id, 2, 1)]


def test_an_id_of_another_transaction_another_relay_or_another_outbox_is_another_event(isolated: Isolated) -> None:
    for _ in range(2):
        for transaction in (800, 801):
            park(isolated, [rejected(structs.replace(EVENT, transaction=transaction))])
        park(isolated, [rejected(structs.replace(EVENT, transaction=800))], relay="other")
        park(isolated, [rejected(structs.replace(EVENT, transaction=800))], outbox="message:orders")

    assert rows(isolated, "relay, outbox, tx::text") == [
        ("relay", "outbox.event", "800"),
        ("relay", "outbox.event", "801"),
        ("other", "outbox.event", "800"),
        ("relay", "message:orders", "800"),
    ]


def test_an_event_is_never_taken_for_another_one_that_was_counted_to_the_same_place(isolated: Isolated) -> None:
    for name in ("a", "b"):
        park(isolated, [rejected(structs.replace(EVENT, id=name, transaction=800))])

    assert rows(isolated) == [("a",), ("b",)]


def test_rows_of_one_batch_are_numbered_in_the_order_of_the_stream(isolated: Isolated) -> None:
    names = [f"{n:03}" for n in range(200)]
    park(isolated, [rejected(structs.replace(EVENT, id=name, transaction=800), place=int(name) + 1) for name in names])

    assert [row[0] for row in rows(isolated)] == names


def test_what_is_asked_for_is_read_as_it_was_parked(isolated: Isolated) -> None:
    headers = Headers('{"n": 1.0}', {"n": 1.0})
    event = structs.replace(EVENT, transaction=800, payload=b"\\x00", content_type="a/b", headers=headers)
    park(isolated, [rejected(event, place=3)])

    again = redriven(isolated)

    number = rows(isolated, "number")[0][0]
    assert again == structs.replace(event, place=3, redrives=number)


def test_a_redriven_event_that_fails_again_waits_again_in_its_own_row(isolated: Isolated) -> None:
    park(isolated, [rejected(structs.replace(EVENT, transaction=800))])
    again = redriven(isolated)
    assert rows(isolated, "asked_at IS NULL, times") == [(False, 1)]

    for _ in range(2):  # the second time from before a restart
        park(isolated, [rejected(again, reason="refused")])
        assert rows(isolated, "asked_at IS NULL, times, reason") == [(True, 2, "refused")]
    assert asked(isolated) == []


def test_a_redriven_event_that_was_published_stays_so_when_an_older_failure_of_it_comes(isolated: Isolated) -> None:
    park(isolated, [rejected(structs.replace(EVENT, transaction=800))])
    again = redriven(isolated)
    published(isolated, rows(isolated, "number")[0][0])
    assert asked(isolated) == []

    park(isolated, [rejected(again)])

    assert rows(isolated, "redriven_at IS NULL, times") == [(False, 1)]


def test_what_nobody_asked_for_is_not_marked_as_published(isolated: Isolated) -> None:
    park(isolated, [rejected(structs.replace(EVENT, transaction=800))])

    published(isolated, rows(isolated, "number")[0][0])

    assert rows(isolated, "redriven_at IS NULL") == [(True,)]


def test_what_is_asked_for_is_read_in_the_order_of_its_events_and_a_limited_number_of_bytes_at_a_time(
    isolated: Isolated,
) -> None:
    size = 20 << 20
    events = [structs.replace(EVENT, id=str(seq), seq=seq, payload=b"x" * size, transaction=800) for seq in (3, 1, 2)]
    park(isolated, [rejected(event) for event in events])
    park(isolated, [rejected(structs.replace(EVENT, id="0", seq=0, transaction=800))], relay="other")
    execute(isolated, "UPDATE relay.parked SET asked_at = clock_timestamp()")

    assert [event.id for event in asked(isolated)] == ["1", "2"]
    published(isolated, *[event.redrives or 0 for event in asked(isolated)])
    assert [event.id for event in asked(isolated)] == ["3"]


def test_a_row_that_was_discarded_stays_so_when_its_event_comes_again(isolated: Isolated) -> None:
    event = structs.replace(EVENT, transaction=800)
    park(isolated, [rejected(event)])
    execute(isolated, "UPDATE relay.parked SET discarded_at = clock_timestamp()")

    park(isolated, [rejected(event)])

    assert rows(isolated, "discarded_at IS NULL") == [(False,)]


@pytest.mark.parametrize(
    "gone",
    ["DELETE FROM relay.parked", "UPDATE relay.parked SET relay = 'other'"],
    ids=["deleted", "of another relay"],
)
def test_a_redriven_event_whose_row_is_gone_is_put_nowhere_else(isolated: Isolated, gone: LiteralString) -> None:
    """Whoever took the row took the event: the relay read it there, and nowhere else."""
    park(isolated, [rejected(structs.replace(EVENT, transaction=800))])
    again = redriven(isolated)
    execute(isolated, gone)
    left = rows(isolated, "relay, asked_at, times")

    park(isolated, [rejected(again)])

    assert rows(isolated, "relay, asked_at, times") == left
    assert asked(isolated) == []


@pytest.mark.parametrize("ahead", [-1000, -1, 0, 1, 1000])
def test_a_transaction_is_known_by_its_low_bits_before_and_after_the_servers_latest(
    isolated: Isolated, ahead: int
) -> None:
    with psycopg.connect(isolated.database_url) as connection:
        row = connection.execute(
            "SELECT relay.transaction_id((xid + %(ahead)s) %% 4294967296)::text::bigint - xid"
            " FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xid) AS latest"
            " WHERE xid + %(ahead)s >= 0",
            {"ahead": ahead},
        ).fetchone()

    assert row is None or row[0] == ahead


def test_a_polled_row_keeps_the_whole_id_of_its_transaction_however_far_from_the_servers_latest(
    isolated: Isolated,
) -> None:
    """A stream is never 2^31 transactions behind; a table may have rows of any age."""
    far = 2**33 + 5
    park(isolated, [rejected(structs.replace(EVENT, transaction=far, place=1))])
    park(isolated, [rejected(structs.replace(EVENT, transaction=far))])

    polled, streamed = rows(isolated, "tx::text::bigint")
    assert polled == (far,)
    assert streamed == (5,), "the control: its low 32 bits are of the id next to the server's latest"
