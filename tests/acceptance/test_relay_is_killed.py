"""The relay is killed: nothing is lost or applied twice, the order is kept, duplicates are bounded."""

import random

from sandbox.machine.waiting import until
from tests.acceptance.report import Report
from tests.support.proxy import Proxy
from tests.support.stage import WINDOW, Stage
from tests.support.tap import Tap
from tests.support.things import Things

KILLS = 20
BATCH = 40
RATE = 300
LARGE = 20_000
"""Events of one transaction, which the relay is killed in the middle of, even by a test that is late."""


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
        with stage.held_back("--count", str(3 * WINDOW), "--batch", "10") as load:
            proxy.swallow_to_client.set()  # no confirm arrives any more; the relay gives up such a link within seconds
        assert load.ended() == 0
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
    events = stage.publish_in_one_transaction(LARGE, "1")
    relay = stage.start("relay", "run")
    tap.grows(0, seconds=60)
    relay.kill()
    published = _all_taken(tap)
    relay = stage.start("relay", "run")
    stage.confirmed(seconds=120)

    assert relay.terminate() == 0
    assert stage.judge(tap, events).duplicates == published


def _all_taken(tap: Tap) -> int:
    """Wait until RabbitMQ has taken what a dead relay had sent, and return how many messages there are."""
    found = [-1]

    def same() -> bool:
        found.append(tap.waiting())
        return found[-1] == found[-2]

    until(same, what="no more messages come", seconds=60, every=0.5)
    return found[-1]
