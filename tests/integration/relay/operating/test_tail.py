"""`relay tail` on a real server: what it prints, and that nothing advances."""

import json
import os

import psycopg
import pytest

from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.operating.slot_stage import position, slots
from tests.integration.relay.stage import call, environment, held, publish
from tests.support.stage import Stage


def test_tail_prints_what_is_unconfirmed_while_a_relay_streams_and_advances_nothing(streaming: Isolated) -> None:
    ids = publish(streaming.database_url, "a", "b", "c")
    with held(streaming):
        before = position(streaming)
        said = call(environment(streaming), "tail", "--count", "2")
        assert position(streaming) == before
    lines = [json.loads(line) for line in said.output.splitlines()]
    assert [line["message_id"] for line in lines] == ids[:2]
    assert lines[0]["routing_key"] == "order.paid"
    until(lambda: slots(streaming) == 1, what="the temporary slot is gone", seconds=60)


def test_tail_from_now_leaves_out_what_was_committed_before_and_ends_on_sigterm(
    stage: Stage, streaming: Isolated
) -> None:
    assert streaming == stage.isolated
    publish(stage.isolated.database_url, "before")
    tail = stage.start("relay", "tail", "--from-now")
    query = "SELECT count(*) FROM pg_replication_slots WHERE temporary AND active AND database = current_database()"
    until(lambda: stage.value(query), what="tail has a slot", seconds=60)
    until(
        lambda: stage.value("SELECT count(*) FROM pg_stat_replication WHERE application_name = 'relay tail'"),
        what="tail streams",
        seconds=60,
    )
    after = publish(stage.isolated.database_url, "after")
    until(lambda: tail.stdout.endswith("\n"), what="a line", seconds=60)
    assert tail.terminate() == 0, tail.tail()
    assert [json.loads(line)["message_id"] for line in tail.stdout.splitlines()] == after


def test_tail_from_now_says_what_it_waits_for(streaming: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.sources.wal.temporary.CREATED_WITHIN", "500ms")
    with psycopg.connect(streaming.database_url) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        said = call(environment(streaming), "tail", "--from-now")
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
