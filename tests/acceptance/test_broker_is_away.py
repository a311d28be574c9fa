"""RabbitMQ goes away while a relay polls a backlog: it lets go of the table, and goes on by itself when it is back."""

from sandbox.machine.waiting import until
from tests.support.proxy import Proxy
from tests.support.stage import Stage

EVENTS = 500
BATCH = 10
POLLS = {"RELAY_SOURCE": "polling", "RELAY_POLL_BATCH": str(BATCH)}
UNPUBLISHED = """
    SELECT count(*) FROM outbox.event AS e, relay.checkpoint AS c WHERE NOT pg_visible_in_snapshot(e.tx, c.snapshot)
"""


def test_a_relay_goes_on_with_a_backlog_that_it_has_polled_in_part(stage: Stage) -> None:
    tap = stage.set_up(**POLLS)
    with Proxy(stage.isolated.amqp_url) as proxy:
        settings = {"RELAY_MAX_IN_FLIGHT": str(BATCH), "RELAY_RELEASE_SLOT_AFTER": "1", "RELAY_AMQP_URL": proxy.url}
        relay = stage.start("relay", "run", **POLLS, **settings)
        relay.logged("streaming", source="polling")
        proxy.swallow_to_client.set()  # no confirm arrives, so the backlog is not read to its end
        events = stage.publish_in_one_transaction(EVENTS, "backlog")
        tap.grows(BATCH - 1)
        proxy.refuse.set()
        proxy.cut()
        relay.complains("the slot is released")
        proxy.swallow_to_client.clear()
        proxy.refuse.clear()
        until(lambda: stage.value(UNPUBLISHED) == 0, what="everything is published", seconds=60)
        assert relay.terminate() == 0, relay.tail()
    assert stage.judge(tap, events).duplicates <= BATCH
