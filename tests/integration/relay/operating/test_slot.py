"""`relay slot` and `relay tail` on a real server: what they print, what they refuse, and that nothing else changes."""

import json
import os

import psycopg
import pytest

from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.stage import Said, call, environment, held, one, own_address, publish
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


def test_the_events_of_logical_messages_are_unknown_and_never_called_none(ready: Isolated) -> None:
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_logical_emit_message(true, 'orders', '{}')")
    variables = environment(ready, RELAY_MESSAGE_PREFIX="orders")
    listed = call(variables, "slot", "skip", "--json").json
    assert listed["events"] is None
    said = call(variables, "slot", "skip").output
    assert "unknown" in said
    assert "none" not in said
    asked = call(variables, "slot", "skip", "--to", listed["transactions"][-1]["end_lsn"], answer="y\n").output
    assert "park nothing, because the events are unknown?" in asked
    assert "nothing was parked" in asked


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
