"""The outbox changes while the relay streams, or has rows that no message can carry: nothing is lost or made up."""

import json

import psycopg
import pytest

from tests.support.stage import Stage
from tests.support.tap import Tap

PLUGINS = pytest.mark.parametrize("plugin", ["wal2json", "pgoutput"])
INSERT = (
    "INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload, created_at)"
    " VALUES ('t', 'a', 1, 'e', '{}', %s) RETURNING id::text"
)
DEEP = '{"a":' * 1000 + "1" + "}" * 1000


def execute(stage: Stage, *statements: str) -> None:
    with psycopg.connect(stage.isolated.database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def delivered(stage: Stage, tap: Tap) -> list[str]:
    """Return what was delivered, each event once: a change of the partitions has some of them published again."""
    stage.confirmed()
    return list(dict.fromkeys(delivery.message for delivery in tap.drain()))


@PLUGINS
def test_partitions_come_and_go_while_the_relay_streams(stage: Stage, plugin: str) -> None:
    tap = stage.set_up(RELAY_PLUGIN=plugin)
    relay = stage.start("relay", "run")
    first = stage.value(INSERT, "2031-06-01")
    assert delivered(stage, tap) == [first]

    execute(
        stage,
        "CREATE TABLE outbox.event_backup AS SELECT * FROM outbox.event",
        "CREATE TABLE outbox.archive2033 (LIKE outbox.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
        "ALTER TABLE outbox.event ATTACH PARTITION outbox.archive2033 FOR VALUES FROM ('2033-01-01') TO ('2034-01-01')",
        "CREATE TABLE outbox.event_2034 PARTITION OF outbox.event FOR VALUES FROM ('2034-01-01') TO ('2035-01-01')",
    )
    came = [stage.value(INSERT, at) for at in ("2033-06-01", "2034-06-01", "2031-06-01")]
    execute(stage, "ALTER TABLE outbox.archive2033 RENAME TO renamed")
    came.append(stage.value(INSERT, "2033-06-01"))
    assert [each for each in delivered(stage, tap) if each != first] == came

    gone = stage.value(INSERT, "2033-06-01")
    execute(stage, "ALTER TABLE outbox.event DETACH PARTITION outbox.renamed", "DROP TABLE outbox.event_backup")
    assert [each for each in delivered(stage, tap) if each not in {first, *came}] == [gone]
    assert relay.terminate() == 0


@PLUGINS
def test_a_partition_that_was_attached_and_renamed_while_no_relay_ran_is_delivered(stage: Stage, plugin: str) -> None:
    tap = stage.set_up(RELAY_PLUGIN=plugin)
    first = stage.start("relay", "run")
    first.streams()
    assert first.terminate() == 0
    execute(
        stage,
        "CREATE TABLE outbox.archive (LIKE outbox.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
        "ALTER TABLE outbox.event ATTACH PARTITION outbox.archive FOR VALUES FROM ('2033-01-01') TO ('2034-01-01')",
    )
    came = stage.value(INSERT, "2033-06-01")
    execute(
        stage,
        "ALTER TABLE outbox.archive RENAME TO renamed",
        "CREATE TABLE outbox.copied AS SELECT * FROM outbox.event",
        "DROP TABLE outbox.copied",
    )
    relay = stage.start("relay", "run")
    relay.streams()
    stage.confirmed()

    assert [delivery.message for delivery in tap.drain()] == [came]
    assert relay.sources == ["wal"]


@PLUGINS
def test_rows_that_no_message_can_carry_are_parked_and_the_stream_goes_on(stage: Stage, plugin: str) -> None:
    execute(
        stage,
        "CREATE TABLE events"
        " (id text, aggregatetype text, aggregateid bool, type text, payload text, meta json, at numeric(20, 1))",
    )
    settings = {
        "RELAY_PLUGIN": plugin,
        "RELAY_OUTBOX_TABLE": "public.events",
        "RELAY_OUTBOX_LAYOUT": "debezium",
        "RELAY_OUTBOX_COLUMNS": '{"headers": "meta", "created_at": "at"}',
    }
    tap = stage.set_up(**settings)
    relay = stage.start("relay", "run", **settings)
    with psycopg.connect(stage.isolated.database_url, autocommit=True) as connection:
        for identity, kind, headers, at in (
            ("deep", "e", DEEP, None),
            ("list", "e", "[1]", None),
            ("number", "e", '{"n": 0.12345678901234567890}', None),
            ("kind", None, "{}", None),
            ("null", "e", "null", "-1"),
            ("fine", "e", '{"n": 0.5}', "1732600000123.5"),
        ):
            row = (identity, kind, headers, at)
            connection.execute("INSERT INTO events VALUES (%s, 't', true, %s, 'x', %s, %s)", row)
    assert delivered(stage, tap) == ["null", "fine"]

    waiting = json.loads(stage.run("relay", "parked", "list", "--json", **settings).stdout)
    assert {row["id"]: row["reason"] for row in waiting} == dict.fromkeys(
        ("deep", "list", "number", "kind"), "unencodable"
    )
    assert relay.terminate() == 0


@PLUGINS
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ALTER TABLE outbox.event_default SET UNLOGGED", "outbox.event_default: the rows of unlogged tables"),
        ("ALTER TABLE outbox.event RENAME TO renamed", "there is no table outbox.event"),
        (
            "ALTER TABLE outbox.event RENAME seq TO a; ALTER TABLE outbox.event RENAME headers TO b",
            "no column 'seq', 'headers'",
        ),
    ],
)
def test_an_outbox_that_cannot_deliver_any_more_ends_the_start_with_the_reason(
    stage: Stage, plugin: str, change: str, words: str
) -> None:
    stage.set_up(RELAY_PLUGIN=plugin)
    execute(stage, *change.split(";"))
    relay = stage.run("relay", "run")

    assert relay.process.returncode == 1
    assert words in relay.tail()
