"""The whole path, by each way of reading: through wal2json, through pgoutput, by polling. `make matrix` counts them."""

import json

import pytest

from sandbox import Sandbox
from tests.acceptance.report import Report
from tests.support.stage import Stage
from tests.support.things import Things

READERS = {
    "wal2json": {"RELAY_SOURCE": "wal", "RELAY_PLUGIN": "wal2json"},
    "pgoutput": {"RELAY_SOURCE": "wal", "RELAY_PLUGIN": "pgoutput"},
    "polling": {"RELAY_SOURCE": "polling", "RELAY_POLL_INTERVAL": "0.2"},
}
EACH = pytest.mark.parametrize("settings", READERS.values(), ids=READERS)
RATE = 200
LARGE = 5_000


@EACH
def test_nothing_is_lost_or_repeated_while_the_relay_is_killed_and_both_servers_restart(
    settings: dict[str, str], sandbox: Sandbox, stage: Stage, seed: int, report: Report
) -> None:
    tap = stage.set_up(**settings)
    consumer = stage.consumer()
    relay = stage.start("relay", "run", **settings)
    relay.logged("streaming", source=settings["RELAY_SOURCE"])
    load = stage.submit("--count", "1000000", "--writers", "2", "--batch", "10", "--rate", str(RATE))
    with Things(stage.isolated.database_url, seed=seed) as things:
        stage.applied(RATE)
        relay.kill()
        relay = stage.start("relay", "run", **settings)
        stage.applied(len(stage.ids()) + RATE)
        try:
            sandbox.postgres.stop("immediate")
            sandbox.rabbitmq.stop()
        finally:
            sandbox.postgres.start()
            sandbox.rabbitmq.start()
        stage.applied(len(stage.ids()) + RATE)
        assert load.terminate() == 143, load.tail()
    stage.applied(len(stage.ids()))
    stage.published()

    assert relay.terminate() == 0, relay.tail()
    assert consumer.terminate() == 0
    report(f"seed {seed}: {stage.judge(tap, things.committed)}")


@EACH
def test_a_large_transaction_and_what_comes_after_it_arrive_in_order(settings: dict[str, str], stage: Stage) -> None:
    tap = stage.set_up(**settings)
    relay = stage.start("relay", "run", **settings)
    relay.logged("streaming", source=settings["RELAY_SOURCE"])
    events = stage.publish_in_one_transaction(LARGE, "1")
    events += stage.publish_in_one_transaction(1, "2")
    stage.published(seconds=60)
    assert relay.terminate() == 0, relay.tail()
    assert stage.judge(tap, events).duplicates == 0


@EACH
def test_what_no_queue_takes_is_parked_and_published_when_it_is_redriven(
    settings: dict[str, str], stage: Stage
) -> None:
    tap = stage.set_up(**settings)
    relay = stage.start("relay", "run", **settings)
    relay.logged("streaming", source=settings["RELAY_SOURCE"])
    tap.unbind()
    (event,) = stage.publish_in_one_transaction(1, "1")
    relay.logged("events parked")
    tap.bind()
    redriven = stage.run("relay", "parked", "redrive", "--all", "--json", **settings)
    assert json.loads(redriven.stdout)["redriven"] == [str(event)], redriven.tail()
    tap.grows(0)
    assert relay.terminate() == 0, relay.tail()
    assert [delivery.message for delivery in tap.drain()] == [str(event)]
