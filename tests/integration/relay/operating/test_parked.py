"""`relay parked` on real servers: each command is about one relay's rows, and a redriven event is what was parked."""

import json
from functools import partial
from typing import LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from relay.operating.setup.steps import setup
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.stage import Said, call, environment, one, publish, settings
from tests.support.commands import Command
from tests.support.stage import Stage
from tests.support.tap import Tap

INSERT: LiteralString = """
INSERT INTO relay.parked (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers,
                          created_at, relay, reason, detail)
SELECT id, place, 'order', '42', 1, 'placed', '{}', '{}', now(), %s, 'returned', 'no queue takes it'
FROM unnest(%s::text[]) WITH ORDINALITY AS e (id, place)
"""


def store(isolated: Isolated, *ids: str, relay: str = "relay") -> None:
    """Park events."""
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute(INSERT, [relay, list(ids)])


def parked(isolated: Isolated, *arguments: str, answer: str | None = None, **changes: str) -> Said:
    return call(environment(isolated, **changes), "parked", *arguments, answer=answer)


def waiting(isolated: Isolated, relay: str = "relay") -> list[str]:
    """Return the ids of the events that wait, and that nobody has asked for yet."""
    listed = parked(isolated, "list", "--json", RELAY_NAME=relay).json
    return [row["id"] for row in listed if row["asked_at"] is None]


def listed_ids(isolated: Isolated) -> list[str]:
    """Return the ids of the events that are neither published nor discarded."""
    return [row["id"] for row in parked(isolated, "list", "--json").json]


def tap(isolated: Isolated) -> Tap:
    return Tap(isolated.amqp_url, queue=isolated.queue("tap"), exchange=isolated.name)


def body(tapped: Tap) -> tuple[str, str, bytes | None]:
    """Consume the oldest message; return its id, content type and body."""
    with tapped.channel() as channel:
        _, properties, content = channel.basic_get(tapped.queue, auto_ack=True)
    assert properties is not None
    return str(properties.message_id), str(properties.content_type), content


@pytest.fixture
def three(ready: Isolated) -> Isolated:
    """Return a relay of which three events wait, two of them with one id; another relay has one with that id too."""
    store(ready, "1", relay="other")
    store(ready, "1", "2", "1")
    return ready


def test_every_command_is_about_the_rows_of_one_relay(three: Isolated) -> None:
    assert waiting(three) == ["1", "2", "1"]
    assert [row["relay"] for row in parked(three, "show", "1", "--json").json] == ["relay", "relay"]
    assert parked(three, "redrive", "--all", "--json").json["redriven"] == ["1", "2", "1"]
    assert waiting(three, "other") == ["1"]
    assert parked(three, "discard", "1", "--yes", RELAY_NAME="other").code == 0
    assert waiting(three, "other") == []
    assert one(three.database_url, "SELECT count(*) FROM relay.parked WHERE discarded_at IS NOT NULL") == 1


def test_a_row_of_another_relay_is_not_there(three: Isolated) -> None:
    for command in (("show",), ("redrive",), ("discard", "--yes")):
        said = parked(three, *command, "--row", "1")
        assert said.code == 1
        assert "not in relay.parked for this relay: row 1" in said.output
    assert waiting(three, "other") == ["1"]


def test_an_id_names_every_row_that_waits_and_a_row_names_one(three: Isolated) -> None:
    numbers = [row["row"] for row in parked(three, "list", "--json").json]
    said = parked(three, "discard", "--row", str(numbers[2]), "--yes", "--json").json
    assert said == {"discarded": ["1"], "rows": [numbers[2]]}
    assert waiting(three) == ["1", "2"]
    assert parked(three, "redrive", "1", "--json").json == {"redriven": ["1"], "rows": [numbers[0]], "failed": []}
    assert waiting(three) == ["2"]


def test_a_command_that_is_repeated_changes_nothing_and_succeeds(three: Isolated) -> None:
    for command, done in ((("redrive", "1"), "redriven"), (("discard", "2", "--yes"), "discarded")):
        assert parked(three, *command).code == 0
        said = parked(three, *command)
        assert (said.code, said.output) == (0, f"0 events {done}\n")


def test_what_was_redriven_is_not_discarded_and_the_other_way_round(three: Isolated) -> None:
    assert parked(three, "redrive", "1").code == 0
    said = parked(three, "discard", "1", "--yes")
    assert (said.code, "already redriven, so not discarded: row 2: 1, row 4: 1" in said.output) == (1, True)
    assert parked(three, "discard", "2", "--yes").code == 0
    said = parked(three, "redrive", "2")
    assert (said.code, "already discarded, so not redriven" in said.output) == (1, True)


def test_discard_looks_before_it_asks(three: Isolated) -> None:
    said = parked(three, "discard", "nothing")
    assert said.code == 1
    assert "not in relay.parked for this relay: nothing" in said.output
    said = parked(three, "discard", "1", "nothing", answer="n\n")
    assert said.code == 1
    assert "Discard 2 events (row 2: 1, row 4: 1)?" in said.output
    assert waiting(three) == ["1", "2", "1"]
    said = parked(three, "discard", "1", "nothing", answer="y\n")
    assert said.code == 1
    assert "not in relay.parked for this relay: nothing" in said.output
    assert waiting(three) == ["2"]


def test_a_choice_is_needed(three: Isolated) -> None:
    for arguments in (["redrive"], ["discard", "--all", "1"], ["redrive", "--all", "--row", "1"], ["show"]):
        assert parked(three, *arguments).code == 2


def test_show_prints_everything_as_text_also_half_a_surrogate_pair(ready: Isolated) -> None:
    store(ready, "odd")
    with psycopg.connect(ready.database_url) as connection:
        connection.execute("UPDATE relay.parked SET payload = %b, headers = %s", [b'"\\ud800"', '{"half": "\\udc00"}'])
    said = parked(ready, "show", "odd")
    assert said.code == 0
    assert '"payload": "\\ud800"' in said.output
    (row,) = parked(ready, "show", "odd", "--json").json
    assert (row["row"], row["payload"], row["headers"]) == (1, "\ud800", {"half": "\udc00"})


def test_an_event_that_cannot_be_redriven_stops_no_other_and_waits(three: Isolated) -> None:
    with psycopg.connect(three.database_url) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not this one'; END$$"
        )
        connection.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON relay.parked FOR EACH ROW WHEN (old.number = 2)"
            " EXECUTE FUNCTION refuse()"
        )
    said = parked(three, "redrive", "--all")
    assert said.code == 1
    assert "1 not redriven: row 2 (1)" in said.output
    assert "not this one" in said.output
    assert [row["row"] for row in parked(three, "list", "--json").json if row["asked_at"] is None] == [2]


def test_what_is_asked_for_is_listed_until_it_is_published_and_survives_the_loss_of_the_slot(stage: Stage) -> None:
    """It stands in its row, so a redrive that was asked for before the relay had its slot again is not lost."""
    isolated = stage.isolated
    store(isolated, "1", "2")
    assert parked(isolated, "redrive", "1").code == 0
    assert call(environment(isolated), "slot", "drop", "--yes").code == 0
    listed = parked(isolated, "list", "--json").json
    assert [(row["id"], row["asked_at"] is None) for row in listed] == [("1", False), ("2", True)]
    assert "asked for at" in parked(isolated, "list").output

    tapped = tap(isolated)
    relay = stage.start("relay", "run")
    relay.streams()
    tapped.grows(0)
    until(lambda: listed_ids(isolated) == ["2"], what="it is marked as published", seconds=30)
    assert relay.terminate() == 0
    assert [delivery.message for delivery in tapped.drain()] == ["1"]
    assert listed_ids(isolated) == ["2"]


def test_an_id_that_is_used_again_is_parked_each_time_and_redriven_each_time(stage: Stage) -> None:
    isolated = stage.isolated
    write = "SELECT count(outbox.publish('stray', '1', n, 'paid', '{}', id => %s)) FROM generate_series(1, 2) AS n"
    event = "7f2c5ae0-7c53-4b5e-8a0c-6a8f0b6b3c11"
    relay = stage.start("relay", "run")
    relay.streams()
    stage.value(write, event)
    until(lambda: waiting(isolated) == [event] * 2, what="both are parked", seconds=30)
    stage.value(write, event)
    until(lambda: waiting(isolated) == [event] * 4, what="all are parked", seconds=30)
    stage.confirmed()
    relay.kill()

    tapped = tap(isolated)
    relay = stage.start("relay", "run")
    assert parked(isolated, "redrive", event).code == 0
    until(lambda: tapped.waiting() >= 4, what="all are published", seconds=60)
    until(lambda: listed_ids(isolated) == [], what="all are marked as published", seconds=30)
    assert relay.terminate() == 0
    assert [delivery.message for delivery in tapped.drain()] == [event] * 4


@pytest.fixture
def two(isolated: Isolated) -> Isolated:
    """Return two relays of one database, whose tables have the same ids, are Debezium's, and keep their rows."""
    with psycopg.connect(isolated.database_url) as connection:
        for schema in ("a", "b"):
            connection.execute(
                f"CREATE SCHEMA {schema} CREATE TABLE outbox (id bigint PRIMARY KEY, aggregatetype text NOT NULL,"
                " aggregateid text NOT NULL, type text NOT NULL, payload jsonb NOT NULL)".encode()
            )
    for schema in ("a", "b"):
        table = {"outbox_table": f"{schema}.outbox", "outbox_layout": "debezium"}
        list(setup(settings(isolated, name=schema, slot=f"{isolated.name}_{schema}", **table), accept_gap=False))
    return isolated


def test_two_relays_park_and_redrive_the_same_id_each_for_itself(two: Isolated, stage_of: "Of") -> None:
    """The tables have primary keys and keep their rows: a redriven event is not written into them."""
    relays = {name: stage_of(name) for name in ("a", "b")}
    for relay in relays.values():
        relay.streams()
    with psycopg.connect(two.database_url) as connection:
        for name in relays:
            insert = SQL("INSERT INTO {} VALUES (1, {}, '7', 'paid', '{{}}')")
            connection.execute(insert.format(Identifier(name, "outbox"), Literal(name)))
    for name in relays:
        until(partial(waiting, two, name), what=f"{name} has parked its own", seconds=30)
        assert waiting(two, name) == ["1"]
        status = call(environment(two, RELAY_NAME=name, RELAY_SLOT=f"{two.name}_{name}"), "status", "--json")
        assert status.json["parked"] == 1

    tapped = tap(two)
    table = {"RELAY_OUTBOX_TABLE": "a.outbox", "RELAY_OUTBOX_LAYOUT": "debezium"}
    said = parked(two, "redrive", "--all", "--json", RELAY_NAME="a", RELAY_SLOT=f"{two.name}_a", **table)
    assert said.json == {"redriven": ["1"], "rows": said.json["rows"], "failed": []}
    tapped.grows(0)
    assert relays["a"].terminate() == relays["b"].terminate() == 0
    assert [(delivery.message, delivery.aggregate_type) for delivery in tapped.drain()] == [("1", "a")]
    assert (waiting(two, "a"), waiting(two, "b")) == ([], ["1"])


class Of:
    """Starts relays of the fixture `two`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __call__(self, name: str) -> Command:
        slot = f"{self._stage.isolated.name}_{name}"
        table = {"RELAY_OUTBOX_TABLE": f"{name}.outbox", "RELAY_OUTBOX_LAYOUT": "debezium"}
        return self._stage.start("relay", "run", RELAY_NAME=name, RELAY_SLOT=slot, **table)


@pytest.fixture
def stage_of(stage: Stage) -> Of:
    return Of(stage)


@pytest.mark.parametrize(
    ("plugin", "kind", "value", "content_type", "content"),
    [
        ("wal2json", "bytea", b"\\x5c783431", "application/octet-stream", b"\\x5c783431"),
        ("pgoutput", "bytea", b"\\x5c783431", "application/octet-stream", b"\\x5c783431"),
        ("wal2json", "bytea", bytes(range(256)), "application/octet-stream", bytes(range(256))),
        ("wal2json", "json", '{"a":1.10,\n "a" : "\\u0041"}', "application/json", b'{"a":1.10,\n "a" : "\\u0041"}'),
        ("pgoutput", "jsonb", '{"a": 1.10}', "application/json", b'{"a": 1.10}'),
        ("pgoutput", "text", '\\x41\n "quoted" é', "text/plain; charset=utf-8", '\\x41\n "quoted" é'.encode()),
    ],
    ids=["text of bytes", "text of bytes, pgoutput", "bytea", "json", "jsonb", "text"],
)
def test_a_redriven_payload_is_the_same_byte_for_byte(  # noqa: PLR0913, PLR0917 - a table of cases
    isolated: Isolated, stage: Stage, plugin: str, kind: str, value: object, content_type: str, content: bytes
) -> None:
    name, table = f"{isolated.name}_k", {"RELAY_OUTBOX_TABLE": "public.outbox", "RELAY_OUTBOX_LAYOUT": "debezium"}
    variables = table | {"RELAY_NAME": "kinds", "RELAY_SLOT": name, "RELAY_PLUGIN": plugin}
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, type text, payload "
            f"{kind}, seq bigint GENERATED ALWAYS AS IDENTITY)".encode()
        )
        assert call(environment(isolated, **variables), "setup").code == 0
        relay = stage.start("relay", "run", **variables)
        connection.execute(
            "INSERT INTO outbox VALUES ('7f2c5ae0-7c53-4b5e-8a0c-6a8f0b6b3c11', 'a', '1', 'b', %s)", [value]
        )
        relay.logged("events parked")
        tapped = tap(isolated)
        assert parked(isolated, "redrive", "--all", **variables).code == 0
        tapped.grows(0)
        assert body(tapped) == ("7f2c5ae0-7c53-4b5e-8a0c-6a8f0b6b3c11", content_type, content)
        assert relay.terminate() == 0


@pytest.mark.parametrize("plugin", ["wal2json", "pgoutput"])
def test_an_event_of_an_outbox_without_a_table_is_redriven_as_it_was(
    isolated: Isolated, stage: Stage, plugin: str
) -> None:
    name = f"{isolated.name}_m"
    variables = {
        "RELAY_NAME": "messages",
        "RELAY_SLOT": name,
        "RELAY_PLUGIN": plugin,
        "RELAY_MESSAGE_PREFIX": "orders",
    }
    content = json.dumps({
        "id": "a", "aggregate_type": "stray", "aggregate_id": "1", "event_type": "paid", "payload": [1, 2], "seq": 7,
        "aggregate_version": 3, "headers": {"n": 1}, "routing_key": "own", "created_at": "2026-11-20T20:00:00Z",
    })  # fmt: skip
    assert call(environment(isolated, **variables), "setup").code == 0
    relay = stage.start("relay", "run", **variables)
    stage.value("SELECT pg_logical_emit_message(true, 'orders', %s::text)::text", content)
    relay.logged("events parked")
    tapped = tap(isolated)
    assert parked(isolated, "redrive", "a", **variables).code == 0
    tapped.grows(0)
    with tapped.channel() as channel:
        method, properties, sent = channel.basic_get(tapped.queue, auto_ack=True)
    assert method is not None
    assert properties is not None
    assert (method.routing_key, properties.timestamp, sent) == ("own", 1795204800, b"[1, 2]")
    assert properties.headers is not None
    assert {key: properties.headers[key] for key in ("seq", "aggregate_version", "n")} == {
        "seq": 7, "aggregate_version": 3, "n": 1,
    }  # fmt: skip
    assert relay.terminate() == 0


def test_headers_and_a_payload_of_any_depth_are_parked_and_shown_and_the_stream_goes_on(
    isolated: Isolated, stage: Stage
) -> None:
    """A message is no JSON to Postgres, which would refuse text that a newer Python reads."""
    variables = {"RELAY_NAME": "messages", "RELAY_SLOT": f"{isolated.name}_m", "RELAY_MESSAGE_PREFIX": "orders"}
    rest = '"aggregate_type": "stray", "aggregate_id": "1", "event_type": "paid"'
    depths = (250, 1_000, 4_000, 9_000, 20_000)
    assert call(environment(isolated, **variables), "setup").code == 0
    relay = stage.start("relay", "run", **variables)
    for depth in depths:
        deep = '{"a":' * depth + "1" + "}" * depth
        content = f'{{"id": "{depth}", {rest}, "headers": {deep}, "payload": {deep}}}'
        stage.value("SELECT pg_logical_emit_message(true, 'orders', %s::text)::text", content)
    waits = "SELECT count(*) = %s FROM relay.parked WHERE relay = 'messages' AND reason = 'unencodable'"
    until(lambda: stage.value(waits, len(depths)), what="all are parked", seconds=30)
    assert relay.terminate() == 0
    for depth in depths:
        (shown,) = parked(isolated, "show", str(depth), "--json", **variables).json
        assert shown["payload"] == shown["headers"] == '{"a":' * depth + "1" + "}" * depth
        assert parked(isolated, "show", str(depth), **variables).code == 0


def test_what_an_earlier_version_wrote_to_redrive_an_event_stops_no_relay(stage: Stage) -> None:
    tapped = tap(stage.isolated)
    relay = stage.start("relay", "run")
    for content in ("", "{}", '{"relay": "relay"}', '{"relay": "other", "row": 1}', "\\x00"):
        stage.value("SELECT pg_logical_emit_message(true, 'relay.redrive', %s::text)::text", content)
    stage.value("SELECT pg_logical_emit_message(true, 'relay.redrive', '\\xff00'::bytea)::text")
    (event,) = publish(stage.isolated.database_url, "after")
    stage.confirmed()
    assert [delivery.message for delivery in tapped.drain()] == [event]
    assert relay.terminate() == 0
