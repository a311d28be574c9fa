"""SIGTERM under load: commands drain and exit 0, and nothing is published or applied twice."""

import random
import signal
from typing import LiteralString

import psycopg

from sandbox.machine.waiting import until
from tests.acceptance.report import Report
from tests.support.stage import Stage
from tests.support.things import Things

RELAY_STOPS = 4
CONSUMER_STOPS = 4
BULK = 1000
"""Events, which a slow machine publishes within the 5 s that a stop waits for the end of a transaction."""
RATE = 300
STORING: LiteralString = """
FROM pg_locks WHERE NOT granted AND relation = 'relay.checkpoint'::regclass
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
STORES: LiteralString = f"SELECT count(*) {STORING}"


def test_a_relay_that_is_asked_to_stop_publishes_nothing_twice(
    stage: Stage, seed: int, draw: random.Random, report: Report
) -> None:
    tap = stage.set_up()
    consumers = stage.consumers(2)
    load = stage.submit("--count", "1000000", "--writers", "4", "--batch", "20", "--rate", str(RATE))
    bulk = []
    with Things(stage.isolated.database_url, seed=seed) as things:
        for number in range(RELAY_STOPS):
            bulk += stage.publish_in_one_transaction(BULK, str(number))
            before = tap.waiting()
            relay = stage.start("relay", "run")
            relay.streams()
            if number % 2:  # in the middle of the big transaction
                tap.grows(before)
            else:
                assert relay.outlives(draw.uniform(0, 0.5)), relay.tail()
            assert relay.terminate() == 0, f"seed {seed}, stop {number}\n{relay.tail()}"
        assert load.terminate() == 143, load.tail()
    relay = stage.start("relay", "run")
    stage.applied(len(stage.ids()))
    stage.confirmed()

    assert relay.terminate() == 0
    assert [consumer.terminate() for consumer in consumers] == [0, 0]
    verdict = stage.judge(tap, [*things.committed, *bulk])
    report(f"{RELAY_STOPS} stops, seed {seed}: {verdict}")
    assert verdict.duplicates == 0


def test_a_second_signal_says_what_is_published_again_although_nothing_is_in_flight(stage: Stage) -> None:
    tap = stage.set_up()
    relay = stage.start("relay", "run")
    relay.streams()
    stage.published()
    with psycopg.connect(stage.isolated.database_url) as connection:
        connection.execute("LOCK TABLE relay.checkpoint IN SHARE MODE")  # who stores the position waits
        events = stage.publish_in_one_transaction(10, "a")
        tap.grows(len(events) - 1)
        until(lambda: stage.value(STORES), what="the relay stores the position", seconds=60)
        for number in (signal.SIGTERM, signal.SIGINT):
            relay.process.send_signal(number)
        assert relay.ended() in {128 + signal.SIGTERM, 128 + signal.SIGINT}, "whichever was handled last"
        stage.query(f"SELECT pg_terminate_backend(pid) {STORING}")  # else it is stored yet
        until(lambda: stage.value(STORES) == 0, what="nobody stores the position", seconds=60)
    last = relay.log[-1]
    assert (last["event"], last["in_flight"]) == ("not drained", 0), relay.tail()
    assert "stored last; what was published after that is published again" in last["remedy"]
    assert "these messages" not in last["remedy"]

    relay = stage.start("relay", "run")
    relay.streams()
    stage.published()
    assert relay.terminate() == 0
    assert stage.judge(tap, events).duplicates == len(events)


def test_consumers_that_are_stopped_apply_nothing_twice(stage: Stage, seed: int, draw: random.Random) -> None:
    tap = stage.set_up()
    consumers = stage.consumers(2)
    relay = stage.start("relay", "run")
    load = stage.submit("--count", "1000000", "--writers", "4", "--batch", "5", "--rate", str(RATE))
    for number in range(CONSUMER_STOPS):
        stage.applied(len(stage.effects()) + 50)
        consumer = consumers.pop(0)
        assert consumer.outlives(draw.uniform(0, 0.2)), consumer.tail()
        assert consumer.terminate() == 0, f"seed {seed}, stop {number}\n{consumer.tail()}"
        consumers.append(stage.consumer())
    assert load.terminate() == 143, load.tail()
    stage.applied(len(stage.ids()))

    assert relay.terminate() == 0
    assert [consumer.terminate() for consumer in consumers] == [0, 0]
    assert tap.ready(stage.queue) == 0
    assert stage.judge(tap).duplicates == 0
    assert stage.query("SELECT status, count(*) FROM tasks.task GROUP BY status") == [("completed", len(stage.ids()))]
