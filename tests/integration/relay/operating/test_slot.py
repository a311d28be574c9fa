"""`relay slot` and `relay tail` on a real server: what they print, what they refuse, and that nothing else changes."""

import json
import os
from typing import LiteralString

import psycopg
import pytest
from msgspec import structs

from relay.core.errors import PositionLost, SlotHeld
from relay.core.position import Lsn
from relay.operating.slot import contents, statements
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.stage import Said, call, environment, held, one, own_address, publish, settings
from tests.integration.relay.storage.parking_stage import park, rejected
from tests.support.examples import EVENT
from tests.support.roles import alter, role
from tests.support.stage import Stage


def slot(isolated: Isolated, *arguments: str, answer: str | None = None) -> Said:
    return call(environment(isolated), "slot", *arguments, answer=answer)


def position(isolated: Isolated) -> tuple[str, str]:
    with psycopg.connect(isolated.database_url) as connection:
        query = """SELECT s.confirmed_flush_lsn::text, c.lsn::text
                   FROM pg_replication_slots AS s, relay.checkpoint AS c WHERE s.slot_name = %s"""
        row = connection.execute(query, [isolated.name]).fetchone()
    assert row is not None
    return row[0], row[1]


def slots(isolated: Isolated) -> int:
    return int(
        one(isolated.database_url, "SELECT count(*) FROM pg_replication_slots WHERE database = %s", isolated.name)
    )


def test_show_prints_the_slot(ready: Isolated) -> None:
    shown = slot(ready, "show", "--json").json
    assert (shown["name"], shown["plugin"], shown["database"]) == (ready.name, "wal2json", ready.name)
    assert shown["holder_pid"] is None
    assert shown["confirmed_flush_lsn"] == position(ready)[0]
    assert "held by" in slot(ready, "show").output


def test_show_of_a_missing_slot_fails_and_says_what_to_do(isolated: Isolated) -> None:
    said = slot(isolated, "show")
    assert said.code == 1
    assert "run `relay setup`" in said.output


def test_create_creates_the_slot_once_and_never_over_a_gap(ready: Isolated) -> None:
    assert "exists" in slot(ready, "create").output
    assert slot(ready, "drop", "--yes").code == 0
    said = slot(ready, "create")
    assert said.code == 1
    assert "is gone" in said.output
    with psycopg.connect(ready.database_url) as connection:
        connection.execute("DELETE FROM relay.checkpoint")
    assert "created" in slot(ready, "create").output


def test_drop_asks_first_and_is_safe_to_repeat(ready: Isolated) -> None:
    assert slot(ready, "drop", answer="n\n").code == 1
    assert slots(ready) == 1
    assert slot(ready, "drop", answer="y\n").code == 0
    assert slots(ready) == 0
    said = slot(ready, "drop", "--yes")
    assert said.code == 0
    assert "does not exist" in said.output


@pytest.mark.parametrize("command", ["drop", "skip"])
def test_a_held_slot_is_left_alone_and_its_holder_named(ready: Isolated, command: str) -> None:
    publish(ready.database_url, "a")
    target = ["--to", slot(ready, "skip", "--json").json["transactions"][-1]["end_lsn"]] if command == "skip" else []
    with held(ready):
        said = slot(ready, command, *target, "--yes")
    assert said.code == 1
    assert f"is held by other at {own_address(ready.database_url)}, pid" in said.output
    assert "stop" in said.output
    assert slots(ready) == 1


def test_skip_without_an_lsn_lists_the_next_transactions_and_changes_nothing(ready: Isolated) -> None:
    first, second = publish(ready.database_url, "a"), publish(ready.database_url, "b", "c")
    before = position(ready)
    listed = slot(ready, "skip", "--json").json
    assert listed["to"] is None
    wrote = {each["id"]: each["xid"] for each in listed["events"]}
    assert list(wrote) == [*first, *second]
    assert [each["xid"] for each in listed["transactions"]][-2:] == [wrote[first[0]], wrote[second[0]]]
    assert first[0] in slot(ready, "skip").output
    assert position(ready) == before
    assert slots(ready) == 1


def test_skip_skips_exactly_the_transactions_before_the_lsn_and_parks_their_events(stage: Stage) -> None:
    isolated = stage.isolated
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
    stage.confirmed()
    assert [delivery.message for delivery in tap.drain()] == skipped
    assert relay.terminate() == 0


def test_markup_and_control_characters_of_an_event_are_printed_as_text(ready: Isolated) -> None:
    publish(ready.database_url, "x[/y][bold]\x1b[31m")
    end = slot(ready, "skip", "--json").json["transactions"][-1]["end_lsn"]
    assert r"order x[/y][bold]\x1b[31m" in slot(ready, "skip").output
    assert slot(ready, "skip", "--to", end, "--yes").code == 0
    assert r"order x[/y][bold]\x1b[31m" in call(environment(ready), "parked", "list").output


def test_skip_leaves_out_transactions_that_did_not_write_to_the_outbox(ready: Isolated) -> None:
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE other (n int)")
        for n in range(30):
            connection.execute("INSERT INTO other VALUES (%s)", [n])
    (event,) = publish(ready.database_url, "a")
    listed = slot(ready, "skip", "--json").json
    assert [each["id"] for each in listed["events"]] == [event]
    assert [each["xid"] for each in listed["transactions"]] == [each["xid"] for each in listed["events"]]


def test_the_events_of_logical_messages_are_read_from_the_stream(ready: Isolated) -> None:
    content = '{"id": "a", "aggregate_type": "t", "aggregate_id": "1", "event_type": "e", "payload": {"n":  1.0}}'
    variables = environment(
        ready, RELAY_MESSAGE_PREFIX="orders", RELAY_NAME="orders", RELAY_SLOT=f"{ready.name}_orders"
    )
    assert call(variables, "setup").code == 0
    with psycopg.connect(ready.database_url) as connection:
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
    assert one(ready.database_url, stored) == ['a1{"n":  1.0}', 'b3{"n":  1.0}']


def test_a_server_with_pgoutput_alone_shows_and_parks_what_is_skipped(
    ready: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = environment(ready, RELAY_PLUGIN="pgoutput", RELAY_NAME="pg", RELAY_SLOT=f"{ready.name}_p")
    assert call(variables, "setup").code == 0
    monkeypatch.setattr("relay.operating.slot.statements.READER", "no_such_plugin")
    first, second = publish(ready.database_url, "a", "b"), publish(ready.database_url, "c")
    listed = call(variables, "slot", "skip", "--json").json
    assert [each["id"] for each in listed["events"]] == [*first, *second]
    to = listed["transactions"][0]["end_lsn"]
    assert call(variables, "slot", "skip", "--to", to, "--yes").code == 0
    assert [row["id"] for row in call(variables, "parked", "list", "--json").json] == first
    assert [each["id"] for each in call(variables, "slot", "skip", "--json").json["events"]] == second


def without_a_readable_stream(isolated: Isolated, **changes: str) -> dict[str, str]:
    """Make the slot one whose stream Postgres cannot decode: its publication is gone."""
    variables = environment(isolated, RELAY_PLUGIN="pgoutput", RELAY_NAME="pg", RELAY_SLOT=f"{isolated.name}_p")
    assert call(variables | changes, "setup").code == 0
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(f'DROP PUBLICATION "{isolated.name}_p"'.encode())
    return variables | changes


def test_the_rows_of_a_transaction_are_parked_if_the_stream_cannot_be_decoded(ready: Isolated) -> None:
    variables = without_a_readable_stream(ready)
    events = publish(ready.database_url, "a", "b")
    gone = publish(ready.database_url, "gone")
    with psycopg.connect(ready.database_url) as connection:
        connection.execute("DELETE FROM outbox.event WHERE id = %s", gone)
    listed = call(variables, "slot", "skip", "--json").json
    assert ([each["id"] for each in listed["events"]], listed["read_from"]) == (events, "table")
    assert "rows that are gone from outbox.event are not listed" in call(variables, "slot", "skip").output
    to = one(ready.database_url, "SELECT pg_current_wal_flush_lsn()::text")
    for _ in range(2):
        call(variables, "slot", "skip", "--to", to, "--yes")
    places = "SELECT array_agg(id || ' ' || place ORDER BY number) FROM relay.parked WHERE relay = 'pg'"
    assert one(ready.database_url, places) == [f"{events[0]} 1", f"{events[1]} 2"]


def test_the_events_of_another_outbox_are_unknown_if_the_stream_cannot_be_decoded(ready: Isolated) -> None:
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE public.outbox (id int, aggregatetype text, aggregateid text, type text, payload text)"
        )
        table = {"RELAY_OUTBOX_TABLE": "public.outbox", "RELAY_OUTBOX_LAYOUT": "debezium"}
        variables = without_a_readable_stream(ready, **table)
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
def test_an_event_that_was_redriven_and_is_skipped_waits_again(ready: Isolated, *, readable: bool) -> None:
    """Its first transaction is passed, so that only the redrive's is skipped."""
    variables = environment(ready) if readable else without_a_readable_stream(ready)
    (event,) = publish(ready.database_url, "a")
    to = one(ready.database_url, "SELECT pg_current_wal_flush_lsn()::text")
    assert call(variables, "slot", "skip", "--to", to, "--yes").code == 0
    assert call(variables, "parked", "redrive", event).code == 0
    assert call(variables, "parked", "list", "--json").json == []

    listed = call(variables, "slot", "skip", "--json").json
    assert [each["id"] for each in listed["events"]] == [event]
    to = listed["transactions"][-1]["end_lsn"]
    assert call(variables, "slot", "skip", "--to", to, "--yes").code == 0
    (row,) = call(variables, "parked", "list", "--json").json
    assert (row["id"], row["reason"], row["times"]) == (event, "skipped", 2)


def test_events_whose_rows_are_gone_are_parked_all_the_same(ready: Isolated) -> None:
    (event,) = publish(ready.database_url, "a")
    with psycopg.connect(ready.database_url) as connection:
        connection.execute("DELETE FROM outbox.event")
    to = slot(ready, "skip", "--json").json["transactions"][-1]["end_lsn"]
    assert slot(ready, "skip", "--to", to, "--yes").code == 0
    stored = "SELECT convert_from(payload, 'UTF8') FROM relay.parked WHERE id = %s"
    assert one(ready.database_url, stored, event) == "{}"


def test_what_was_parked_or_discarded_before_is_not_parked_again(ready: Isolated) -> None:
    events = publish(ready.database_url, "a", "b")
    tx = one(ready.database_url, "SELECT tx::text::bigint FROM outbox.event LIMIT 1")
    both = [structs.replace(EVENT, id=event, transaction=tx) for event in events]
    park(ready, [rejected(event, place=place) for place, event in enumerate(both, 1)])
    assert call(environment(ready), "parked", "discard", events[0], "--yes").code == 0

    to = slot(ready, "skip", "--json").json["transactions"][-1]["end_lsn"]
    assert slot(ready, "skip", "--to", to, "--yes").code == 0

    assert one(ready.database_url, "SELECT count(*) FROM relay.parked") == 2
    (row,) = call(environment(ready), "parked", "list", "--json").json
    assert (row["id"], row["reason"]) == (events[1], "returned")


SECURE: LiteralString = "ALTER TABLE outbox.event ENABLE ROW LEVEL SECURITY"


def test_row_level_security_hides_nothing_that_is_skipped(ready: Isolated) -> None:
    events = publish(ready.database_url, "a", "b")
    with role(ready.database_url, "LOGIN REPLICATION", "secret") as url:
        alter(ready.database_url, "GRANT SELECT ON outbox.event TO {}", f"{ready.name}_role")
        with psycopg.connect(ready.database_url) as connection:
            connection.execute(SECURE)
        variables = environment(ready, RELAY_DATABASE_URL=url)
        to = call(variables, "slot", "skip", "--json").json["transactions"][-1]["end_lsn"]
        assert call(variables, "slot", "skip", "--to", to, "--yes").code == 0
    assert [row["id"] for row in call(environment(ready), "parked", "list", "--json").json] == events


def test_row_level_security_is_refused_if_only_the_table_shows_what_would_be_skipped(ready: Isolated) -> None:
    variables = without_a_readable_stream(ready)
    publish(ready.database_url, "a")
    before = one(
        ready.database_url, "SELECT confirmed_flush_lsn::text FROM pg_replication_slots ORDER BY slot_name DESC"
    )
    to = one(ready.database_url, "SELECT pg_current_wal_flush_lsn()::text")
    with role(ready.database_url, "LOGIN REPLICATION", "secret") as url:
        alter(ready.database_url, "GRANT SELECT ON outbox.event TO {}", f"{ready.name}_role")
        with psycopg.connect(ready.database_url) as connection:
            connection.execute(SECURE)
        said = call(variables | {"RELAY_DATABASE_URL": url}, "slot", "skip", "--to", to, "--yes")
        assert said.code == 1
        assert f"row-level security hides rows of outbox.event from role '{ready.name}_role'" in said.output
        moved = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots ORDER BY slot_name DESC"
        assert one(ready.database_url, moved) == before
        alter(ready.database_url, "ALTER ROLE {} BYPASSRLS", f"{ready.name}_role")  # the remedy
        assert call(variables | {"RELAY_DATABASE_URL": url}, "slot", "skip", "--to", to, "--yes").code == 0
    assert one(ready.database_url, "SELECT count(*) FROM relay.parked") == 1


def test_the_position_is_stored_before_the_slot_moves_and_a_skip_that_was_interrupted_ends(ready: Isolated) -> None:
    (event,) = publish(ready.database_url, "a")
    to = slot(ready, "skip", "--json").json["transactions"][-1]["end_lsn"]
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        found = statements.usable(connection, ready.name)
        after = Lsn.parse(found.confirmed_flush_lsn or "")
        transactions = statements.unconfirmed(connection, found, after=after)
        events = contents.contents(connection, settings(ready), found, transactions, after=after)

        def park() -> None:
            contents.park(connection, settings(ready), found, transactions, events, after=after, detail="a test")

        facts = statements.facts(connection, settings(ready))
        with held(ready), pytest.raises(SlotHeld, match="stop every relay"):
            statements.skip(connection, settings(ready), facts, to=Lsn.parse(to), park=park)
    assert position(ready) == (str(after), to)
    assert one(ready.database_url, "SELECT id FROM relay.parked") == event

    said = slot(ready, "skip", "--to", to, "--yes")
    assert (said.code, "confirmed or parked already" in said.output) == (0, True)
    assert position(ready) == (to, to)
    assert one(ready.database_url, "SELECT count(*) FROM relay.parked") == 1


def test_skip_refuses_a_slot_that_another_relay_of_this_name_does_not_read(ready: Isolated) -> None:
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'wal2json')", [f"{ready.name}_b"])
    publish(ready.database_url, "a")
    to = one(ready.database_url, "SELECT pg_current_wal_flush_lsn()::text")
    said = call(environment(ready, RELAY_SLOT=f"{ready.name}_b"), "slot", "skip", "--to", to, "--yes")
    assert said.code == 1
    assert f"relay 'relay' has replication slot '{ready.name}', and RELAY_SLOT is '{ready.name}_b'" in said.output


def test_a_skip_does_not_write_over_a_position_that_was_stored_while_it_asked(ready: Isolated) -> None:
    publish(ready.database_url, "a")
    to = slot(ready, "skip", "--json").json["transactions"][-1]["end_lsn"]
    before = position(ready)
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        facts = statements.facts(connection, settings(ready))
        connection.execute("UPDATE relay.checkpoint SET epoch = epoch + 1")
        with pytest.raises(PositionLost):
            statements.skip(connection, settings(ready), facts, to=Lsn.parse(to), park=lambda: None)
    assert position(ready) == before


def test_skip_asks_first(ready: Isolated) -> None:
    publish(ready.database_url, "a")
    before = position(ready)
    to = slot(ready, "skip", "--json").json["transactions"][-1]["end_lsn"]
    said = slot(ready, "skip", "--to", to, answer="n\n")
    assert said.code == 1
    assert f"Advance slot '{ready.name}'" in said.output
    assert "park 1 event?" in said.output
    assert position(ready) == before


@pytest.mark.parametrize(
    ("lsn", "code", "says"),
    [("0/1", 1, "nothing to skip"), ("FFFF/0", 1, "ahead of the server's WAL"), ("tomorrow", 2, "is not an LSN")],
)
def test_skip_refuses_an_lsn_outside_of_the_unconfirmed_wal(ready: Isolated, lsn: str, code: int, says: str) -> None:
    said = slot(ready, "skip", "--to", lsn, "--yes")
    assert said.code == code
    assert says in said.output


def test_a_transaction_that_began_before_and_commits_after_the_lsn_is_not_skipped(ready: Isolated) -> None:
    with psycopg.connect(ready.database_url) as late:
        row = late.execute("SELECT outbox.publish('order', 'late', 1, 'paid', '{}')::text").fetchone()
        publish(ready.database_url, "early")
        to = slot(ready, "skip", "--json").json["transactions"][-1]["end_lsn"]
        assert len(slot(ready, "skip", "--to", to, "--yes", "--json").json["events"]) == 1
    assert row is not None
    assert [each["id"] for each in slot(ready, "skip", "--json").json["events"]] == [row[0]]


def test_tail_prints_what_is_unconfirmed_while_a_relay_streams_and_advances_nothing(ready: Isolated) -> None:
    ids = publish(ready.database_url, "a", "b", "c")
    with held(ready):
        before = position(ready)
        said = call(environment(ready), "tail", "--count", "2")
        assert position(ready) == before
    lines = [json.loads(line) for line in said.output.splitlines()]
    assert [line["message_id"] for line in lines] == ids[:2]
    assert lines[0]["routing_key"] == "order.paid"
    until(lambda: slots(ready) == 1, what="the temporary slot is gone", seconds=10)


def test_tail_from_now_leaves_out_what_was_committed_before_and_ends_on_sigterm(stage: Stage) -> None:
    publish(stage.isolated.database_url, "before")
    tail = stage.start("relay", "tail", "--from-now")
    query = "SELECT count(*) FROM pg_replication_slots WHERE temporary AND active AND database = current_database()"
    until(lambda: stage.value(query), what="tail has a slot", seconds=15)
    until(
        lambda: stage.value("SELECT count(*) FROM pg_stat_replication WHERE application_name = 'relay tail'"),
        what="tail streams",
        seconds=15,
    )
    after = publish(stage.isolated.database_url, "after")
    until(lambda: tail.stdout.endswith("\n"), what="a line", seconds=15)
    assert tail.terminate() == 0, tail.tail()
    assert [json.loads(line)["message_id"] for line in tail.stdout.splitlines()] == after


def test_tail_from_now_says_what_it_waits_for(ready: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.operating.tail.stream._TIMEOUT", "500ms")
    with psycopg.connect(ready.database_url) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        said = call(environment(ready), "tail", "--from-now")
    assert said.code == 1
    assert "waits for the end of open transactions" in said.output


def test_tail_ends_without_an_error_when_its_reader_closes_the_pipe(stage: Stage) -> None:
    reader, writer = os.pipe()
    tail = stage.start_into(writer, "relay", "tail")
    os.close(writer)
    publish(stage.isolated.database_url, "a")
    assert os.read(reader, 1)
    os.close(reader)
    publish(stage.isolated.database_url, "b")
    assert tail.ended() == 0, tail.tail()
    assert "Traceback" not in tail.stderr
