"""RabbitMQ's consumer_timeout: it hits no task that only waits, and a handler that outlives it runs once.

RabbitMQ closes a channel on which a delivery was not acknowledged in time, and delivers again
(https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout).
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import Isolated
from sandbox.lifetime import private
from sandbox.servers.backend import Extra
from sandbox.servers.rabbitmq import Rabbitmq
from tests.integration.consumers.stage import Stage, metric

_SECONDS = 3
_TICK = "application:set_env(rabbit, channel_tick_interval, 500)."
"""RabbitMQ looks at how old deliveries are at each tick of a channel, which is a minute; there is no setting for it."""


@pytest.fixture(scope="module")
def impatient() -> Iterator[Rabbitmq]:
    with private.rabbitmq(Extra(f"consumer_timeout = {_SECONDS * 1000}\n")) as server:
        server.control("eval", _TICK)
        yield server


@pytest.fixture
def stage(isolated: Isolated, impatient: Rabbitmq, tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(replace(isolated, amqp_url=impatient.url), tmp_path, stack)


def test_tasks_that_only_wait_are_delivered_once_and_all_run(stage: Stage) -> None:
    """Together they take four times as long as RabbitMQ waits, in one thread."""
    stage.rows("SELECT tasks.submit('takes', '{\"seconds\": 1}') FROM generate_series(1, 12)")
    consumer = stage.consume(concurrency="1", prefetch="64")
    stage.relay()
    stage.reaches(completed=12)
    assert [line for line in consumer.log if line["event"] == "broker not available"] == []
    assert (stage.ready(stage.queue), stage.dead) == (0, 0)
    assert consumer.terminate() == 0


def test_a_handler_that_takes_longer_runs_once(stage: Stage) -> None:
    stage.rows("SELECT tasks.submit('takes', '{\"seconds\": 7}')")
    consumer = stage.consume()
    stage.relay()
    stage.reaches(completed=1)
    assert consumer.logged("subscribed again")
    assert stage.rows("SELECT attempts, version FROM tasks.task") == [(1, 3)]
    assert len(stage.effects()) == 1
    assert metric(consumer, "consumers_tasks_total", type="takes", outcome="duplicate") >= 1
    assert (stage.ready(stage.queue), stage.dead) == (0, 0)
    assert consumer.terminate() == 0
