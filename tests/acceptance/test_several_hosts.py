"""A relay and a consumer that know two hosts of RabbitMQ: one is down at the start, and later the other one."""

from tests.support.proxy import Proxy
from tests.support.stage import Stage

TASKS = 20


def test_tasks_run_whichever_of_two_hosts_is_up(stage: Stage) -> None:
    tap = stage.set_up()
    with Proxy(stage.isolated.amqp_url) as first, Proxy(stage.isolated.amqp_url) as second:
        login, _, place = first.url.rpartition("@")
        address, _, path = place.partition("/")
        other = second.url.rpartition("@")[2].partition("/")[0]
        both = f"{login}@{address},{other}/{path}"
        first.refuse.set()
        relay = stage.start("relay", "run", RELAY_AMQP_URL=both)
        consumer = stage.consumer(CONSUMERS_AMQP_URL=both)
        assert relay.logged("publishing")["broker"] == f"{other}/"
        assert stage.submit("--count", str(TASKS)).ended() == 0
        stage.applied(TASKS)

        first.refuse.clear()
        second.refuse.set()
        second.cut()
        assert stage.submit("--count", str(TASKS)).ended() == 0
        stage.applied(2 * TASKS)
        stage.confirmed()
        assert relay.terminate() == 0
        assert consumer.terminate() == 0
    assert stage.judge(tap).committed == 2 * TASKS
