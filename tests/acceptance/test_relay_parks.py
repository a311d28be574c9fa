"""Events that cannot be published: parked with their reason, the stream goes on, and a redrive brings them through."""

import json

from sandbox.waiting import until
from tests.acceptance.stage import Stage


def test_a_message_that_is_too_large_is_parked_and_comes_through_when_it_is_redriven(stage: Stage) -> None:
    tap = stage.set_up()
    relay = stage.start("relay", "run", RELAY_MAX_MESSAGE_BYTES="2048")
    large = stage.value("SELECT outbox.publish('big', '1', 1, 'made', jsonb_build_object('x', repeat('y', 4000)))")
    small = stage.value("SELECT outbox.publish('big', '1', 2, 'made', '{}')")
    relay.logged("events parked")
    stage.confirmed()
    assert [delivery.message for delivery in tap.drain()] == [str(small)]

    waiting = json.loads(stage.run("relay", "parked", "list", "--json").stdout)
    assert [(row["id"], row["reason"]) for row in waiting] == [(str(large), "too_large")]
    assert relay.terminate() == 0

    relay = stage.start("relay", "run")
    assert json.loads(stage.run("relay", "parked", "redrive", "--all", "--json").stdout) == {"redriven": [str(large)]}
    stage.confirmed()
    assert [delivery.message for delivery in tap.drain()] == [str(large)]
    assert relay.terminate() == 0
    assert json.loads(stage.run("relay", "parked", "list", "--json").stdout) == []


def test_an_event_that_no_queue_takes_is_parked_and_the_stream_goes_on(stage: Stage) -> None:
    assert stage.run("relay", "setup").process.returncode == 0
    consumer = stage.consumer()
    relay = stage.start("relay", "run")
    stray = stage.value("SELECT outbox.publish('order', '1', 1, 'paid', '{}')")
    relay.logged("events parked")
    load = stage.submit("--count", "50")
    assert load.ended() == 0
    stage.applied(50)

    again = stage.run("relay", "parked", "redrive", str(stray))
    assert again.process.returncode == 0
    until(
        lambda: stage.value("SELECT times FROM relay.parked WHERE id = %s AND redriven_at IS NULL", str(stray)) == 2,
        what="it is parked again",
        seconds=20,
    )
    assert stage.run("relay", "parked", "discard", str(stray), "--yes").process.returncode == 0
    assert stage.run("relay", "parked", "redrive", str(stray)).process.returncode == 1
    assert relay.terminate() == 0
    assert consumer.terminate() == 0
