"""The relay is killed: nothing is lost or applied twice, the order is kept, duplicates are bounded."""

import random

from tests.acceptance.report import Report
from tests.support.proxy import Proxy
from tests.support.stage import WINDOW, Stage
from tests.support.things import Things

KILLS = 20
BATCH = 40
RATE = 300


def test_a_relay_that_is_killed_twenty_times_under_load_loses_and_repeats_nothing(
    stage: Stage, seed: int, draw: random.Random, report: Report
) -> None:
    tap = stage.set_up()
    consumers = stage.consumers(2)
    load = stage.submit("--count", "1000000", "--writers", "4", "--batch", str(BATCH), "--rate", str(RATE))
    with Things(stage.isolated.database_url, seed=seed) as things:
        for number in range(KILLS):
            relay = stage.start("relay", "run")
            if draw.random() < 0.8:  # the others die while they start
                relay.streams()
            moment = draw.uniform(0, 0.8)
            assert relay.outlives(moment), f"seed {seed}: relay {number} ended by itself\n{relay.tail()}"
            relay.kill()
        relay = stage.start("relay", "run")
        assert load.terminate() == 143, load.tail()
    stage.applied(len(stage.ids()))
    stage.confirmed()
    assert relay.terminate() == 0, relay.tail()
    assert [consumer.terminate() for consumer in consumers] == [0, 0]

    verdict = stage.judge(tap, things.committed)
    report(f"{KILLS} kills, seed {seed}: {verdict}")
    # In flight, and confirmed since the position was stored: that is done for each window of them.
    assert verdict.duplicates <= KILLS * (3 * WINDOW + BATCH)


def test_messages_that_were_published_and_not_confirmed_when_the_relay_died_are_published_again_and_absorbed(
    stage: Stage,
) -> None:
    tap = stage.set_up()
    consumer = stage.consumer()
    with Proxy(stage.isolated.amqp_url) as proxy:
        relay = stage.start("relay", "run", RELAY_AMQP_URL=proxy.url)
        relay.streams()
        proxy.swallow_to_client.set()  # no confirm arrives any more
        assert stage.submit("--count", str(3 * WINDOW), "--batch", "10").ended() == 0
        stage.applied(WINDOW)
        relay.kill()
    assert tap.waiting() == WINDOW, "what is in flight fills the window, and no more"
    relay = stage.start("relay", "run")
    stage.applied(3 * WINDOW)
    stage.confirmed()

    assert relay.terminate() == 0
    assert consumer.terminate() == 0
    assert tap.ready(stage.queue) == 0
    assert stage.judge(tap).duplicates == WINDOW


def test_a_transaction_in_whose_middle_the_relay_died_comes_again_whole_and_in_order(stage: Stage) -> None:
    tap = stage.set_up()
    relay = stage.start("relay", "run")
    relay.streams()
    assert relay.terminate() == 0
    events = stage.publish_in_one_transaction(5000, "1")
    relay = stage.start("relay", "run")
    tap.grows(0)
    relay.kill()
    published = tap.waiting()
    relay = stage.start("relay", "run")
    stage.confirmed()

    assert relay.terminate() == 0
    assert stage.judge(tap, events).duplicates == published
