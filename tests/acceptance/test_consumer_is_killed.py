"""A consumer is killed: redeliveries of what it had committed are absorbed, and the rest runs again."""

import json
from pathlib import Path
from urllib.request import urlopen

from sandbox.machine.waiting import until
from tests.support.commands import Command
from tests.support.proxy import Proxy
from tests.support.stage import Stage

TASKS = 8  # as many as a consumer takes before it knows how long they take: RabbitMQ hears no more of it
LEASE = "3"
"""Seconds: a machine that stands still for one of them ends no attempt."""


def test_tasks_that_were_committed_and_not_acked_are_delivered_again_and_absorbed(stage: Stage) -> None:
    tap = stage.set_up()
    relay = stage.start("relay", "run")
    with Proxy(stage.isolated.amqp_url) as proxy:
        consumer = stage.consumer(CONSUMERS_AMQP_URL=proxy.url)
        with stage.held_back("--count", str(TASKS)) as load:
            proxy.swallow_to_server.set()  # no ack arrives any more, and no heartbeat: RabbitMQ waits for seconds only
        assert load.ended() == 0
        stage.applied(TASKS)
        consumer.kill()
    next_one = stage.consumer(CONSUMERS_HTTP_ADDRESS="127.0.0.1:0")
    until(lambda: _counted(next_one, "duplicate") == TASKS, what="every redelivery is absorbed", seconds=60)

    assert next_one.terminate() == 0
    assert relay.terminate() == 0
    assert tap.ready(stage.queue) == 0
    assert stage.judge(tap).committed == TASKS


def test_a_task_whose_consumer_died_runs_again_when_its_lease_has_expired(stage: Stage, tmp_path: Path) -> None:
    tap = stage.set_up()
    relay = stage.start("relay", "run")
    consumer = stage.consumer(CONSUMERS_LEASE=LEASE)
    started = tmp_path / "started"
    options = ("--type", "hang", "--payload", json.dumps({"started": str(started)}))
    assert stage.submit(*options).ended() == 0
    until(started.exists, what="the handler runs", seconds=60)
    consumer.kill()
    assert stage.effects() == []

    next_one = stage.consumer(CONSUMERS_LEASE=LEASE)
    stage.applied(1)
    assert next_one.terminate() == 0
    assert relay.terminate() == 0
    assert tap.ready(stage.queue) == 0
    stage.judge(tap)
    assert stage.query("SELECT status, attempts FROM tasks.task") == [("completed", 2)]


def _counted(consumer: Command, outcome: str) -> float:
    """Return how many deliveries the consumer's metrics count under `outcome`."""
    address = consumer.logged("serving metrics and health")["address"]
    with urlopen(f"http://{address}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("consumers_tasks_total{") and f'outcome="{outcome}"' in line
    )
