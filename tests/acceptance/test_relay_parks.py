"""Events that cannot be published are parked with their reason, the stream continues, and a redrive publishes them."""

import json

from sandbox.machine.waiting import until
from tests.support.stage import Stage

WAIT = "SELECT count(*) FROM relay.parked WHERE redriven_at IS NULL AND discarded_at IS NULL"


def test_a_message_that_is_too_large_is_parked_and_published_when_it_is_redriven(stage: Stage) -> None:
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
    assert json.loads(stage.run("relay", "parked", "redrive", "--all", "--json").stdout)["redriven"] == [str(large)]
    tap.grows(0)  # it is not in the WAL, so the relay's position says nothing of it
    assert [delivery.message for delivery in tap.drain()] == [str(large)]
    until(lambda: stage.value(WAIT) == 0, what="it is marked as published", seconds=30)
    assert relay.terminate() == 0
    assert json.loads(stage.run("relay", "parked", "list", "--json").stdout) == []


def test_events_that_rabbitmq_would_close_the_connection_for_are_parked_and_the_stream_goes_on(stage: Stage) -> None:
    """Each of them is a valid row of our own table."""
    tap = stage.set_up()
    relay = stage.start("relay", "run")
    fraction = stage.value(
        "SELECT outbox.publish('odd', '1', 1, 'made', '1', ('{\"n\": 1' || repeat('0', 400) || '.5}')::jsonb)"
    )
    digits = stage.value("SELECT outbox.publish('odd', '2', 1, 'made', '2', '{\"n\": 1e4400}')")
    name = stage.value("SELECT outbox.publish('odd', repeat('a', 200000), 1, 'made', '3')")
    odd = [str(fraction), str(digits), str(name)]
    fine = stage.value("SELECT outbox.publish('odd', '1', 2, 'made', '{}')")
    stage.confirmed()
    assert [delivery.message for delivery in tap.drain()] == [str(fine)]

    waiting = json.loads(stage.run("relay", "parked", "list", "--json").stdout)
    assert [(row["id"], row["reason"]) for row in waiting] == [(each, "unencodable") for each in odd]
    assert stage.run("relay", "parked", "show", str(digits)).process.returncode == 0
    shown = stage.value(
        "SELECT headers::text = '{\"n\": 1' || repeat('0', 4400) || '}' FROM relay.parked WHERE id = %s", str(digits)
    )
    assert shown
    stage.value("UPDATE relay.parked SET headers = '{}' WHERE id = %s RETURNING id", str(fraction))
    assert json.loads(stage.run("relay", "parked", "redrive", "--all", "--json").stdout)["redriven"] == odd
    tap.grows(0)
    assert [delivery.message for delivery in tap.drain()] == [str(fraction)]
    assert relay.terminate() == 0


def test_an_event_that_no_queue_takes_is_parked_and_the_stream_continues(stage: Stage) -> None:
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
        seconds=60,
    )
    assert stage.run("relay", "parked", "discard", str(stray), "--yes").process.returncode == 0
    assert stage.run("relay", "parked", "redrive", str(stray)).process.returncode == 1
    assert relay.terminate() == 0
    assert consumer.terminate() == 0
