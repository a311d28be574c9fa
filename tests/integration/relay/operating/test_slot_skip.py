"""`relay slot skip` on a real server: which transactions it skips, and that their events are parked."""

from typing import LiteralString

import psycopg
import pytest
from msgspec import structs

from relay.core.errors import PositionLost, SlotHeld
from relay.core.position import Lsn
from relay.operating.slot import contents, statements
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.operating.slot_stage import position, slot, slots
from tests.integration.relay.stage import call, environment, held, one, publish, settings, streams
from tests.integration.relay.storage.parking_stage import park, rejected
from tests.support.examples import EVENT
from tests.support.roles import alter, role
from tests.support.stage import Stage


def test_skip_without_an_lsn_lists_the_next_transactions_and_changes_nothing(streaming: Isolated) -> None:
    first, second = publish(streaming.database_url, "a"), publish(streaming.database_url, "b", "c")
    before = position(streaming)
    listed = slot(streaming, "skip", "--json").json
    assert listed["to"] is None
    wrote = {each["id"]: each["xid"] for each in listed["events"]}
    assert list(wrote) == [*first, *second]
    assert [each["xid"] for each in listed["transactions"]][-2:] == [wrote[first[0]], wrote[second[0]]]
    assert first[0] in slot(streaming, "skip").output
    assert position(streaming) == before
    assert slots(streaming) == 1


def test_skip_skips_exactly_the_transactions_before_the_lsn_and_parks_their_events(stage: Stage) -> None:
    isolated = stage.isolated
    streams(isolated)
    skipped, kept = publish(isolated.database_url, "a", "b"), publish(isolated.database_url, "c")
    listed = slot(isolated, "skip", "--json").json
    xid = next(each["xid"] for each in listed["events"] if each["id"] == skipped[0])
    to = next(each["end_lsn"] for each in listed["transactions"] if each["xid"] == xid)

    said = slot(isolated, "skip", "--to", to, "--yes", "--json").json
    assert [each["id"] for each in said["events"]] == skipped
    assert position(isolated) == (to, to)
    with psycopg.connect(isolated.database_url) as connection:
        parked = connection.execute(
            "SELECT id::text, reason, after_lsn::text FROM relay.parked ORDER BY seq"
        ).fetchall()
    assert parked == [(each, "skipped", listed["after"]) for each in skipped]

    tap = stage.set_up()
    relay = stage.start("relay", "run")
    stage.confirmed()
    assert [delivery.message for delivery in tap.drain()] == kept
    redriven = stage.run("relay", "parked", "redrive", "--all")
    assert redriven.process.returncode == 0, redriven.tail()
    until(lambda: tap.waiting() == 2, what="both are published", seconds=30)
    assert [delivery.message for delivery in tap.drain()] == skipped
    assert relay.terminate() == 0


def test_markup_and_control_characters_of_an_event_are_printed_as_text(streaming: Isolated) -> None:
    publish(streaming.database_url, "x[/y][bold]\x1b[31m")
    end = slot(streaming, "skip", "--json").json["transactions"][-1]["end_lsn"]
    assert r"order x[/y][bold]\x1b[31m" in slot(streaming, "skip").output
    assert slot(streaming, "skip", "--to", end, "--yes").code == 0
    assert r"order x[/y][bold]\x1b[31m" in call(environment(streaming), "parked", "list").output


def test_skip_leaves_out_transactions_that_did_not_write_to_the_outbox(streaming: Isolated) -> None:
    with psycopg.connect(streaming.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE other (n int)")
        for n in range(30):
            connection.execute("INSERT INTO other VALUES (%s)", [n])
    (event,) = publish(streaming.database_url, "a")
    listed = slot(streaming, "skip", "--json").json
    assert [each["id"] for each in listed["events"]] == [event]
    assert [each["xid"] for each in listed["transactions"]] == [each["xid"] for each in listed["events"]]


def test_the_events_of_logical_messages_are_read_from_the_stream(streaming: Isolated) -> None:
    content = '{"id": "a", "aggregate_type": "t", "aggregate_id": "1", "event_type": "e", "payload": {"n":  1.0}}'
    variables = environment(
        streaming, RELAY_MESSAGE_PREFIX="orders", RELAY_NAME="orders", RELAY_SLOT=f"{streaming.name}_orders"
    )
    assert call(variables, "setup").code == 0
    with psycopg.connect(streaming.database_url) as connection:
        for each in (content, "{}", content.replace('"a"', '"b"')):
            connection.execute("SELECT pg_logical_emit_message(true, 'orders', %s::text)", [each])
    listed = call(variables, "slot", "skip", "--json").json
    assert [each["id"] for each in listed["events"]] == ["a", None, "b"]
    assert "cannot be read" in listed["events"][1]["problem"]
    assert "cannot be read, and will not be parked" in call(variables, "slot", "skip").output
    to = listed["transactions"][-1]["end_lsn"]
    asked = call(variables, "slot", "skip", "--to", to, answer="y\n").output
    assert "park 2 events, but not 1 that cannot be read?" in asked
    stored = "SELECT array_agg(id || place || convert_from(payload, 'UTF8') ORDER BY number) FROM relay.parked"
    assert one(streaming.database_url, stored) == ['a1{"n":  1.0}', 'b3{"n":  1.0}']


def test_a_server_with_pgoutput_alone_shows_and_parks_what_is_skipped(
    streaming: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = environment(streaming, RELAY_PLUGIN="pgoutput", RELAY_NAME="pg", RELAY_SLOT=f"{streaming.name}_p")
    assert call(variables | {"RELAY_SOURCE": "wal"}, "setup").code == 0
    monkeypatch.setattr("relay.operating.slot.statements.READER", "no_such_plugin")
    first, second = publish(streaming.database_url, "a", "b"), publish(streaming.database_url, "c")
    listed = call(variables, "slot", "skip", "--json").json
    assert [each["id"] for each in listed["events"]] == [*first, *second]
    to = listed["transactions"][0]["end_lsn"]
    assert call(variables, "slot", "skip", "--to", to, "--yes").code == 0
    assert [row["id"] for row in call(variables, "parked", "list", "--json").json] == first
    assert [each["id"] for each in call(variables, "slot", "skip", "--json").json["events"]] == second


def without_a_readable_stream(isolated: Isolated, **changes: str) -> dict[str, str]:
    """Make the slot one whose stream Postgres cannot decode: its publication is gone."""
    variables = environment(isolated, RELAY_PLUGIN="pgoutput", RELAY_NAME="pg", RELAY_SLOT=f"{isolated.name}_p")
    assert call(variables | {"RELAY_SOURCE": "wal"} | changes, "setup").code == 0
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(f'DROP PUBLICATION "{isolated.name}_p"'.encode())
    return variables | changes


def test_the_rows_of_a_transaction_are_parked_if_the_stream_cannot_be_decoded(streaming: Isolated) -> None:
    variables = without_a_readable_stream(streaming)
    events = publish(streaming.database_url, "a", "b")
    gone = publish(streaming.database_url, "gone")
    with psycopg.connect(streaming.database_url) as connection:
        connection.execute("DELETE FROM outbox.event WHERE id = %s", gone)
    listed = call(variables, "slot", "skip", "--json").json
    assert ([each["id"] for each in listed["events"]], listed["read_from"]) == (events, "table")
    assert "rows that are gone from outbox.event are not listed" in call(variables, "slot", "skip").output
    to = one(streaming.database_url, "SELECT pg_current_wal_flush_lsn()::text")
    for _ in range(2):
        call(variables, "slot", "skip", "--to", to, "--yes")
    places = "SELECT array_agg(id || ' ' || place ORDER BY number) FROM relay.parked WHERE relay = 'pg'"
    assert one(streaming.database_url, places) == [f"{events[0]} 1", f"{events[1]} 2"]


def test_the_events_of_another_outbox_are_unknown_if_the_stream_cannot_be_decoded(streaming: Isolated) -> None:
    with psycopg.connect(streaming.database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE public.outbox (id int, aggregatetype text, aggregateid text, type text, payload text)"
        )
        table = {"RELAY_OUTBOX_TABLE": "public.outbox", "RELAY_OUTBOX_LAYOUT": "debezium"}
        variables = without_a_readable_stream(streaming, **table)
        connection.execute("INSERT INTO outbox VALUES (1, 'a', 'b', 'c', 'd')")
    listed = call(variables, "slot", "skip", "--json").json
    assert listed["events"] is None
    said = call(variables, "slot", "skip").output
    assert "unknown" in said
    assert "none" not in said
    asked = call(variables, "slot", "skip", "--to", listed["transactions"][-1]["end_lsn"], answer="y\n").output
    assert "park nothing, because the events are unknown?" in asked
    assert "nothing was parked" in asked


@pytest.mark.parametrize("readable", [True, False], ids=["stream", "table"])
def test_an_event_that_is_asked_for_is_not_touched_by_a_skip(streaming: Isolated, *, readable: bool) -> None:
    variables = environment(streaming) if readable else without_a_readable_stream(streaming)
    (event,) = publish(streaming.database_url, "a")
    to = one(streaming.database_url, "SELECT pg_current_wal_flush_lsn()::text")
    assert call(variables, "slot", "skip", "--to", to, "--yes").code == 0
    assert call(variables, "parked", "redrive", event).code == 0

    (other,) = publish(streaming.database_url, "b")
    to = one(streaming.database_url, "SELECT pg_current_wal_flush_lsn()::text")
    assert call(variables, "slot", "skip", "--to", to, "--yes").code == 0
    listed = call(variables, "parked", "list", "--json").json
    assert [(row["id"], row["asked_at"] is None, row["times"]) for row in listed] == [
        (event, False, 1), (other, True, 1),
    ]  # fmt: skip


def test_a_relay_that_has_not_streamed_yet_polls_what_would_be_skipped(ready: Isolated) -> None:
    publish(ready.database_url, "a")
    to = one(ready.database_url, "SELECT pg_current_wal_flush_lsn()::text")
    for arguments in ((), ("--to", to, "--yes")):
        said = slot(ready, "skip", *arguments)
        assert said.code == 1
        assert "has not streamed from replication slot" in said.output
    assert one(ready.database_url, "SELECT lsn IS NULL FROM relay.checkpoint")


def test_what_is_skipped_is_not_polled_either(stage: Stage) -> None:
    isolated = stage.isolated
    streams(isolated)
    publish(isolated.database_url, "skipped")
    to = slot(isolated, "skip", "--json").json["transactions"][-1]["end_lsn"]
    assert slot(isolated, "skip", "--to", to, "--yes").code == 0
    assert slot(isolated, "drop", "--yes").code == 0
    kept = publish(isolated.database_url, "kept")
    tap = stage.set_up(RELAY_SOURCE="auto")
    relay = stage.start("relay", "run", RELAY_SOURCE="polling")
    until(lambda: tap.waiting() >= 1, what="the rest is published", seconds=30)
    assert relay.terminate() == 0
    assert [delivery.message for delivery in tap.drain()] == kept


def test_events_whose_rows_are_gone_are_parked_all_the_same(streaming: Isolated) -> None:
    (event,) = publish(streaming.database_url, "a")
    with psycopg.connect(streaming.database_url) as connection:
        connection.execute("DELETE FROM outbox.event")
    to = slot(streaming, "skip", "--json").json["transactions"][-1]["end_lsn"]
    assert slot(streaming, "skip", "--to", to, "--yes").code == 0
    stored = "SELECT convert_from(payload, 'UTF8') FROM relay.parked WHERE id = %s"
    assert one(streaming.database_url, stored, event) == "{}"


def test_what_was_parked_or_discarded_before_is_not_parked_again(streaming: Isolated) -> None:
    events = publish(streaming.database_url, "a", "b")
    tx = one(streaming.database_url, "SELECT tx::text::bigint FROM outbox.event LIMIT 1")
    both = [structs.replace(EVENT, id=event, transaction=tx) for event in events]
    park(streaming, [rejected(event, place=place) for place, event in enumerate(both, 1)])
    assert call(environment(streaming), "parked", "discard", events[0], "--yes").code == 0

    to = slot(streaming, "skip", "--json").json["transactions"][-1]["end_lsn"]
    assert slot(streaming, "skip", "--to", to, "--yes").code == 0

    assert one(streaming.database_url, "SELECT count(*) FROM relay.parked") == 2
    (row,) = call(environment(streaming), "parked", "list", "--json").json
    assert (row["id"], row["reason"]) == (events[1], "returned")


SECURE: LiteralString = "ALTER TABLE outbox.event ENABLE ROW LEVEL SECURITY"


def test_row_level_security_hides_nothing_that_is_skipped(streaming: Isolated) -> None:
    events = publish(streaming.database_url, "a", "b")
    with role(streaming.database_url, "LOGIN REPLICATION", "secret") as url:
        alter(streaming.database_url, "GRANT SELECT ON outbox.event TO {}", f"{streaming.name}_role")
        with psycopg.connect(streaming.database_url) as connection:
            connection.execute(SECURE)
        variables = environment(streaming, RELAY_DATABASE_URL=url)
        to = call(variables, "slot", "skip", "--json").json["transactions"][-1]["end_lsn"]
        assert call(variables, "slot", "skip", "--to", to, "--yes").code == 0
    assert [row["id"] for row in call(environment(streaming), "parked", "list", "--json").json] == events


def test_row_level_security_is_refused_if_only_the_table_shows_what_would_be_skipped(streaming: Isolated) -> None:
    variables = without_a_readable_stream(streaming)
    publish(streaming.database_url, "a")
    before = one(
        streaming.database_url, "SELECT confirmed_flush_lsn::text FROM pg_replication_slots ORDER BY slot_name DESC"
    )
    to = one(streaming.database_url, "SELECT pg_current_wal_flush_lsn()::text")
    with role(streaming.database_url, "LOGIN REPLICATION", "secret") as url:
        alter(streaming.database_url, "GRANT SELECT ON outbox.event TO {}", f"{streaming.name}_role")
        with psycopg.connect(streaming.database_url) as connection:
            connection.execute(SECURE)
        said = call(variables | {"RELAY_DATABASE_URL": url}, "slot", "skip", "--to", to, "--yes")
        assert said.code == 1
        assert f"row-level security hides rows of outbox.event from role '{streaming.name}_role'" in said.output
        moved = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots ORDER BY slot_name DESC"
        assert one(streaming.database_url, moved) == before
        alter(streaming.database_url, "ALTER ROLE {} BYPASSRLS", f"{streaming.name}_role")  # the remedy
        assert call(variables | {"RELAY_DATABASE_URL": url}, "slot", "skip", "--to", to, "--yes").code == 0
    assert one(streaming.database_url, "SELECT count(*) FROM relay.parked") == 1


def test_the_position_is_stored_before_the_slot_moves_and_a_skip_that_was_interrupted_ends(streaming: Isolated) -> None:
    (event,) = publish(streaming.database_url, "a")
    to = slot(streaming, "skip", "--json").json["transactions"][-1]["end_lsn"]
    with psycopg.connect(streaming.database_url, autocommit=True) as connection:
        found = statements.usable(connection, settings(streaming))
        after = Lsn.parse(found.confirmed_flush_lsn or "")
        transactions = statements.unconfirmed(connection, found, after=after)
        events = contents.contents(connection, settings(streaming), found, transactions, after=after)

        def park() -> None:
            contents.park(connection, settings(streaming), found, transactions, events, after=after, detail="a test")

        facts = statements.facts(connection, settings(streaming))
        with held(streaming), pytest.raises(SlotHeld, match="stop every relay"):
            statements.skip(connection, settings(streaming), facts, to=Lsn.parse(to), skipped=transactions, park=park)
    assert position(streaming) == (str(after), to)
    assert one(streaming.database_url, "SELECT id FROM relay.parked") == event

    said = slot(streaming, "skip", "--to", to, "--yes")
    assert (said.code, "confirmed or parked already" in said.output) == (0, True)
    assert position(streaming) == (to, to)
    assert one(streaming.database_url, "SELECT count(*) FROM relay.parked") == 1


def test_skip_refuses_a_slot_that_another_relay_of_this_name_does_not_read(streaming: Isolated) -> None:
    with psycopg.connect(streaming.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'wal2json')", [f"{streaming.name}_b"])
    publish(streaming.database_url, "a")
    to = one(streaming.database_url, "SELECT pg_current_wal_flush_lsn()::text")
    said = call(environment(streaming, RELAY_SLOT=f"{streaming.name}_b"), "slot", "skip", "--to", to, "--yes")
    assert said.code == 1
    assert (
        f"relay 'relay' has replication slot '{streaming.name}', and RELAY_SLOT is '{streaming.name}_b'" in said.output
    )


def test_a_skip_does_not_write_over_a_position_that_was_stored_while_it_asked(streaming: Isolated) -> None:
    publish(streaming.database_url, "a")
    to = slot(streaming, "skip", "--json").json["transactions"][-1]["end_lsn"]
    before = position(streaming)
    with psycopg.connect(streaming.database_url, autocommit=True) as connection:
        facts = statements.facts(connection, settings(streaming))
        connection.execute("UPDATE relay.checkpoint SET epoch = epoch + 1")
        with pytest.raises(PositionLost):
            statements.skip(connection, settings(streaming), facts, to=Lsn.parse(to), skipped=(), park=lambda: None)
    assert position(streaming) == before


def test_skip_asks_first(streaming: Isolated) -> None:
    publish(streaming.database_url, "a")
    before = position(streaming)
    to = slot(streaming, "skip", "--json").json["transactions"][-1]["end_lsn"]
    said = slot(streaming, "skip", "--to", to, answer="n\n")
    assert said.code == 1
    assert f"Advance slot '{streaming.name}'" in said.output
    assert "park 1 event?" in said.output
    assert position(streaming) == before


@pytest.mark.parametrize(
    ("lsn", "code", "says"),
    [("0/1", 1, "nothing to skip"), ("FFFF/0", 1, "ahead of the server's WAL"), ("tomorrow", 2, "is not an LSN")],
)
def test_skip_refuses_an_lsn_outside_of_the_unconfirmed_wal(
    streaming: Isolated, lsn: str, code: int, says: str
) -> None:
    said = slot(streaming, "skip", "--to", lsn, "--yes")
    assert said.code == code
    assert says in said.output


def test_a_transaction_that_began_before_and_commits_after_the_lsn_is_not_skipped(streaming: Isolated) -> None:
    with psycopg.connect(streaming.database_url) as late:
        row = late.execute("SELECT outbox.publish('order', 'late', 1, 'paid', '{}')::text").fetchone()
        publish(streaming.database_url, "early")
        to = slot(streaming, "skip", "--json").json["transactions"][-1]["end_lsn"]
        assert len(slot(streaming, "skip", "--to", to, "--yes", "--json").json["events"]) == 1
    assert row is not None
    assert [each["id"] for each in slot(streaming, "skip", "--json").json["events"]] == [row[0]]
