"""`relay audit` of relays and consumers that run: clean under load and across hand-overs, and what is lost is named."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import pika
import psycopg
import pytest

from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.stage import Said, call, environment, one
from tests.support.commands import Command
from tests.support.stage import Stage

WRITE: LiteralString = "SELECT outbox.publish('load', %s, 1, 'moved', '{}')"
NOTE: LiteralString = "SELECT relay.note_position('relay', '0 s')"
PUBLISHED: LiteralString = """
SELECT bool_and(snapshot IS NOT NULL AND NOT EXISTS (
    SELECT FROM outbox.event WHERE NOT pg_visible_in_snapshot(tx, snapshot))) FROM relay.checkpoint
"""
PARTITION: LiteralString = """
CREATE TABLE outbox.event_20200101 PARTITION OF outbox.event
FOR VALUES FROM ('2020-01-01 00:00Z') TO ('2020-01-02 00:00Z')
"""
OLD: LiteralString = """
INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload, created_at)
SELECT 'load', n::text, 1, 'moved', '{}', '2020-01-01 12:00Z' FROM generate_series(1, 50) AS n
"""


def audit(isolated: Isolated, *arguments: str) -> Said:
    return call(environment(isolated), "audit", "--json", *arguments)


def published(url: str) -> None:
    """Wait until the stored snapshot sees everything that is committed, and note that moment."""
    until(lambda: one(url, PUBLISHED), what="everything is published", seconds=60)
    one(url, NOTE)


class Load:
    """Commits events by overlapping transactions of two writers; every seventh transaction is rolled back."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._committed = [0, 0]
        self.threads = [threading.Thread(target=self._write, args=[number]) for number in (0, 1)]

    @property
    def committed(self) -> int:
        return sum(self._committed)

    def _write(self, number: int) -> None:
        with psycopg.connect(self._url) as connection:
            turn = 0
            while not self._over.wait(0.005):
                turn += 1
                for each in range(3):
                    connection.execute(WRITE, [f"{number}-{each}"])
                if turn % 7 == 0:
                    connection.rollback()
                else:
                    connection.commit()
                    self._committed[number] += 3
                if turn % 20 == 0:
                    one(self._url, NOTE)

    def end(self) -> None:
        self._over.set()
        for thread in self.threads:
            thread.join()


@contextmanager
def load(url: str) -> Iterator[Load]:
    started = Load(url)
    for thread in started.threads:
        thread.start()
    try:
        yield started
    finally:
        started.end()


def switched(isolated: Isolated, to: str) -> None:
    assert call(environment(isolated), "switch", "--to", to).code == 0


def more(load: Load) -> None:
    now = load.committed
    until(lambda: load.committed > now + 100, what="a hundred events more", seconds=30)


def test_under_load_and_across_hand_overs_nothing_is_missing(isolated: Isolated, stage: Stage) -> None:
    stage.set_up()
    auditing = {"RELAY_AUDIT_EVERY": "1s"}
    relay = stage.start("relay", "run", **auditing)
    relay.streams()
    one(isolated.database_url, NOTE)
    with load(isolated.database_url) as running:
        for to in ("polling", "wal"):
            more(running)
            assert audit(isolated).json["totals"]["missing"] == 0
            switched(isolated, to)
        more(running)
        relay.kill()
        relay = stage.start("relay", "run", **auditing)
        more(running)
        said = audit(isolated)
        assert (said.code, said.json["verdict"]) == (0, "clean"), said.output
        assert said.json["totals"]["confirmed"] > 0
    published(isolated.database_url)
    said = audit(isolated)
    assert (said.code, said.json["verdict"]) == (0, "clean"), said.output
    assert said.json["totals"]["pending"] == 0
    assert said.json["totals"]["confirmed"] == said.json["totals"]["committed"]
    assert relay.terminate() == 0
    assert not [line for line in relay.log if line["event"] in {"events missing", "not stored"}]


def test_parked_redriven_and_retired_events_are_accounted_for(isolated: Isolated, stage: Stage) -> None:
    url = isolated.database_url
    with psycopg.connect(url) as connection:
        connection.execute(PARTITION)
    tap = stage.set_up()
    relay = stage.start("relay", "run", RELAY_RETENTION="off")
    relay.streams()
    one(url, NOTE)
    tap.unbind()
    stage.query("SELECT outbox.publish('load', n::text, 1, 'moved', '{}') FROM generate_series(1, 9) AS n")
    until(lambda: one(url, "SELECT count(*) FROM relay.parked") == 9, what="they are parked", seconds=30)
    tap.bind()
    with psycopg.connect(url) as connection:
        connection.execute(OLD)
    published(url)
    totals = audit(isolated).json["totals"]
    assert (totals["parked"], totals["confirmed"], totals["missing"]) == (9, 50, 0)

    assert call(environment(isolated), "parked", "redrive", "--all").code == 0
    until(lambda: audit(isolated).json["totals"]["confirmed"] == 59, what="the redriven ones count", seconds=30)
    until(
        lambda: call(environment(isolated), "retention", "run", "--json").json["partitions"][0]["dropped"],
        what="the partition is dropped", seconds=30,
    )  # fmt: skip
    said = audit(isolated)
    assert (said.code, said.json["totals"]["missing"], said.json["totals"]["extra"]) == (0, 0, 0), said.output
    assert [(each["events"], each["judged"]) for each in said.json["retired"]] == [(50, True)]
    assert relay.terminate() == 0


def test_a_purged_queue_is_confirmed_and_not_applied_and_each_event_is_named(isolated: Isolated, stage: Stage) -> None:
    stage.set_up()
    relay = stage.start("relay", "run")
    relay.streams()
    one(isolated.database_url, NOTE)
    consumer = stage.consumer()
    submit(stage, 5)
    stage.applied(5)
    assert consumer.terminate() == 0
    submit(stage, 3)
    published(isolated.database_url)
    with pika.BlockingConnection(pika.URLParameters(isolated.amqp_url)) as connection:
        channel = connection.channel()
        until(lambda: queued(channel, stage.queue) == 3, what="they are in the queue", seconds=30)
        channel.queue_purge(stage.queue)
    until(lambda: audit(isolated, "--grace", "1s").code == 3, what="the grace is over", seconds=30)
    said = audit(isolated, "--grace", "1s")
    waiting = one(isolated.database_url, "SELECT array_agg(id::text) FROM tasks.task WHERE status = 'pending'")
    assert said.json["verdict"] == "not applied"
    assert {each["aggregate_id"] for each in said.json["not_applied"]} == set(waiting)
    assert (said.json["totals"]["confirmed"], said.json["totals"]["missing"]) == (8, 0)
    assert relay.terminate() == 0


def queued(channel: Any, queue: str) -> int:  # noqa: ANN401 - pika has no types
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def submit(stage: Stage, count: int) -> None:
    stage.query("SELECT tasks.submit('effect') FROM generate_series(1, %s)", count)


SHARED = {"RELAY_SOURCE": "polling", "RELAY_POLL_STRATEGY": "skip_locked"}


@pytest.mark.parametrize("how", [{"RELAY_SOURCE": "wal"}, {"RELAY_SOURCE": "polling"}, SHARED], ids=str)
def test_a_row_that_was_deleted_after_it_was_published_is_named(
    how: dict[str, str], isolated: Isolated, stage: Stage
) -> None:
    stage.set_up(**how)
    relay: Command = stage.start("relay", "run", **how)
    relay.logged("streaming", source=how["RELAY_SOURCE"])
    one(isolated.database_url, NOTE)
    ids = [str(each) for each in stage.publish_in_one_transaction(20, "a")]
    published(isolated.database_url)
    said = call(environment(isolated, **how), "audit", "--json")
    assert (said.code, said.json["totals"]["confirmed"]) == (0, 20), said.output
    stage.query("DELETE FROM outbox.event WHERE id = %s::uuid RETURNING id", ids[4])
    one(isolated.database_url, NOTE)
    said = call(environment(isolated, **how), "audit", "--json")
    assert (said.code, said.json["verdict"]) == (3, "extra"), said.output
    assert [each["id"] for each in said.json["extra"]] == [ids[4]]
    assert relay.terminate() == 0


BROKEN = """
from relay.core.event import OutboxEvent
from relay.sources.polling.stream import PollingStream
from relay.sources.wal.stream import WalStream

for kind in (PollingStream, WalStream):
    def receive(self, receive=kind.receive):
        async def received():
            items = await receive(self)
            return [each for each in items if not isinstance(each, OutboxEvent) or each.aggregate_id != "skipped"]
        return received()
    kind.receive = receive
"""


@pytest.mark.parametrize("source", ["wal", "polling"])
def test_a_row_that_a_broken_relay_passes_over_is_named_and_repaired(
    source: str, isolated: Isolated, stage: Stage, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BROKEN, encoding="utf-8")
    tap = stage.set_up(RELAY_SOURCE=source)
    relay = stage.start("relay", "run", RELAY_SOURCE=source, RELAY_AUDIT_EVERY="1s", PYTHONPATH=str(tmp_path))
    relay.logged("streaming", source=source)
    one(isolated.database_url, NOTE)
    aggregates = ["a", "skipped", "b", "skipped", "c"]
    ids = stage.query(
        "SELECT outbox.publish('order', id, 1, 'paid', '{}')::text FROM unnest(%s::text[]) AS id", aggregates
    )
    skipped = {ids[1][0], ids[3][0]}
    published(isolated.database_url)
    variables = environment(isolated, RELAY_SOURCE=source)
    said = call(variables, "audit", "--json")
    assert (said.code, said.json["verdict"]) == (3, "missing"), said.output
    assert {each["id"] for each in said.json["missing"]} == skipped
    assert relay.logged("events missing")["count"] == len(skipped)

    repair = stage.run("relay", "audit", "--repair", "--yes", RELAY_SOURCE=source)
    assert repair.process.returncode == 0, repair.stderr
    assert call(variables, "audit").code == 0
    relay.logged("no event missing")
    assert relay.terminate() == 0
    assert sorted(each.message for each in tap.drain()) == sorted(each for (each,) in ids)


def test_what_an_accepted_gap_left_out_is_named_and_repaired(isolated: Isolated, stage: Stage) -> None:
    tap = stage.set_up(RELAY_SOURCE="wal")
    relay = stage.start("relay", "run", RELAY_SOURCE="wal")
    relay.streams()
    one(isolated.database_url, NOTE)
    before = stage.query(
        "SELECT outbox.publish('load', n::text, 1, 'moved', '{}')::text FROM generate_series(1, 3) AS n"
    )
    published(isolated.database_url)
    assert relay.terminate() == 0
    stage.query("SELECT true FROM pg_drop_replication_slot(%s)", isolated.name)
    gap = stage.query("SELECT outbox.publish('load', n::text, 1, 'moved', '{}')::text FROM generate_series(1, 4) AS n")
    assert call(environment(isolated, RELAY_SOURCE="wal"), "setup", "--accept-gap").code == 0

    relay = stage.start("relay", "run", RELAY_SOURCE="wal")
    relay.streams()
    published(isolated.database_url)
    said = call(environment(isolated, RELAY_SOURCE="wal"), "audit", "--json")
    assert {each["id"] for each in said.json["missing"]} == {id_ for (id_,) in gap}
    repair = stage.run("relay", "audit", "--repair", "--yes", RELAY_SOURCE="wal")
    assert repair.process.returncode == 0, repair.stderr
    assert call(environment(isolated, RELAY_SOURCE="wal"), "audit").code == 0
    assert relay.terminate() == 0
    assert sorted(each.message for each in tap.drain()) == sorted(id_ for (id_,) in (*before, *gap))
