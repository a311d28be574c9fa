"""`relay run --stdout` prints messages as JSON lines, publishes nothing and does not move the slot."""

import json
import os
import subprocess

import psycopg

from sandbox.machine.waiting import until
from tests.support.commands import Command
from tests.support.stage import Stage
from writers import NewEvent, publish

POSITION = """
SELECT s.confirmed_flush_lsn::text, c.lsn::text
FROM pg_replication_slots AS s, relay.checkpoint AS c WHERE s.slot_name = %s
"""


def write(stage: Stage, *versions: int) -> None:
    for version in versions:
        with psycopg.connect(stage.isolated.database_url) as connection:
            publish(connection, NewEvent("order", "42", version, "paid", {"total": "1 €"}, {"traceparent": "00-ab"}))


def printed(relay: Command, lines: int) -> None:
    until(lambda: relay.stdout.count("\n") == lines, what=f"{lines} lines", seconds=60)


def test_messages_are_printed_as_json_lines_and_the_slot_does_not_move(stage: Stage) -> None:
    tap = stage.set_up()
    before = stage.query(POSITION, stage.isolated.name)
    write(stage, 1, 2, 3)
    for _ in range(2):
        relay = stage.start("relay", "run", "--stdout")
        printed(relay, 3)
        assert relay.terminate() == 0, relay.tail()
        lines = [json.loads(line) for line in relay.stdout.splitlines()]
        assert [line["headers"]["aggregate_version"] for line in lines] == [1, 2, 3]
        assert lines[0]["routing_key"] == "order.paid"
        assert lines[0]["body"] == {"total": "1 €"}
        assert lines[0]["headers"]["traceparent"] == "00-ab"
        assert [line["message_id"] for line in lines] == [
            str(row[0]) for row in stage.query("SELECT id FROM outbox.event ORDER BY seq")
        ]

    assert stage.query(POSITION, stage.isolated.name) == before
    assert tap.waiting() == 0


def test_it_ends_without_an_error_when_its_reader_closes_the_pipe(stage: Stage) -> None:
    stage.set_up()
    write(stage, 1, 2, 3)
    reader, writer = os.pipe()
    relay = stage.start_into(writer, "relay", "run", "--stdout")
    os.close(writer)
    head = subprocess.run(["head", "-n", "2"], stdin=reader, capture_output=True, check=True, timeout=60)  # noqa: S607 - found on the PATH
    os.close(reader)
    assert head.stdout.count(b"\n") == 2

    write(stage, 4)  # nobody reads this line
    assert relay.ended(seconds=60) == 0
    assert [line["event"] for line in relay.log] == ["streaming", "stopped"]
    assert len(relay.stderr.splitlines()) == 2
