"""Pending tasks whose message is lost are announced again; those that only wait are not."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pika.channel import Channel

from outboxkit.amqp.connection import Connection
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.consumers.stage import Stage, get, metric
from tests.support.commands import Command

JOB = "consumers.reannounce-tasks"
LOST = 296


@pytest.fixture
def stage(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(isolated, tmp_path, stack)


def relayed(stage: Stage, until_true: Callable[[], bool], *, what: str) -> None:
    """Play the relay until it is so."""
    until(lambda: (stage.relay(), until_true())[1], what=what, seconds=60)


def job_ran(command: Command, times: int) -> bool:
    return metric(command, "consumers_jobs_total", name=JOB, outcome="ran") >= times


def announced(stage: Stage) -> dict[int, int]:
    """Return how many tasks have how many events."""
    return dict(
        stage.rows(
            "SELECT events, count(*) FROM (SELECT count(*) AS events FROM outbox.event"
            " WHERE payload->>'type' <> 'consumers.probe' GROUP BY aggregate_id) AS task GROUP BY events"
        )
    )


def probes(stage: Stage) -> int:
    ((count,),) = stage.rows("SELECT count(*) FROM outbox.event WHERE payload->>'type' = 'consumers.probe'")
    return int(count)


def delete(stage: Stage) -> None:
    async def use(connection: Connection, channel: Channel) -> None:
        await connection.call(channel.queue_delete, stage.queue)

    stage.broker(use)


def purge(stage: Stage) -> None:
    async def use(connection: Connection, channel: Channel) -> None:
        await connection.call(channel.queue_purge, stage.queue)

    stage.broker(use)


def dead_letter(stage: Stage) -> None:
    """Reject every message, as the broker does when the delivery limit is reached."""
    rejected: list[int] = []

    async def use(connection: Connection, channel: Channel) -> None:
        def on_message(channel: Channel, method: object, *_: object) -> None:
            tag = method.delivery_tag  # type: ignore[attr-defined]
            channel.basic_reject(tag, requeue=False)
            rejected.append(tag)

        await connection.call(channel.basic_consume, stage.queue, on_message)
        while len(rejected) < LOST:
            await connection.call(channel.basic_qos, prefetch_count=0)

    stage.broker(use)
    until(lambda: stage.dead == LOST, what="all are in the dead-letter queue", seconds=30)


@pytest.mark.parametrize("lose", [delete, purge, dead_letter])
def test_tasks_whose_messages_are_gone_run_after_all_and_once(stage: Stage, lose: Callable[[Stage], None]) -> None:
    assert stage.consume().terminate() == 0  # it has declared the queue
    stage.submit("record", LOST)
    stage.relay()
    until(lambda: stage.ready(stage.queue) == LOST, what="all messages wait", seconds=30)
    lose(stage)
    consumer = stage.consume(reannounce_every="0.2")
    relayed(stage, lambda: stage.statuses() == {"completed": LOST}, what="all tasks are completed")
    assert len(stage.effects()) == len(set(stage.effects())) == LOST
    assert announced(stage) == {2: LOST}
    line = consumer.logged("tasks announced again")
    assert (line["tasks"], line["reasons"], line["again"], line["types"]) == (LOST, {"lost": LOST}, 0, ["record"])
    assert metric(consumer, "consumers_reannounced_total", reason="lost") == LOST
    until(lambda: job_ran(consumer, 20), what="the job ran on", seconds=30)
    assert metric(consumer, "consumers_reannounced_total") == LOST
    assert metric(consumer, "consumers_tasks_total", outcome="unknown") == 0, "a probe is no task"
    assert (
        stage.rows("SELECT count(*) FROM tasks.probe") == stage.rows("SELECT count(*) FROM tasks.reannounced") == [(0,)]
    )
    assert stage.ready(stage.queue) == 0
    assert consumer.terminate() == 0
    assert stage.ready(stage.queue) == 0, "the probes are acknowledged"


def test_a_queue_that_is_purged_while_consumers_run_is_made_good(stage: Stage) -> None:
    consumer = stage.consume(reannounce_every="0.2", concurrency="1", prefetch="1")
    with stage.gate() as let_pass:
        stage.submit("gated", 20)
        stage.relay()
        stage.waiting_at_gate(1)
        until(lambda: (stage.ready(stage.queue) or 0) >= 19, what="the others wait", seconds=30)
        purge(stage)
        let_pass()
        relayed(stage, lambda: stage.statuses() == {"completed": 20}, what="all tasks are completed")
    assert announced(stage) == {1: 1, 2: 19}
    assert consumer.terminate() == 0


def test_tasks_that_only_wait_in_the_queue_are_not_announced_again(stage: Stage) -> None:
    """Hundreds wait for many times the interval, behind a consumer that does nothing."""
    consumer = stage.consume(reannounce_every="0.1", concurrency="1", prefetch="1")
    with stage.gate() as let_pass:
        stage.submit("gated", 300)
        stage.relay()
        stage.waiting_at_gate(1)
        relayed(stage, lambda: job_ran(consumer, 15), what="the job looked many times")
        let_pass()
    relayed(stage, lambda: stage.statuses() == {"completed": 300}, what="all tasks are completed")
    assert announced(stage) == {1: 300}
    assert 1 <= probes(stage) <= 20
    assert metric(consumer, "consumers_reannounced_total") == 0
    assert metric(consumer, "consumers_tasks_total", outcome="duplicate") == 0
    assert consumer.terminate() == 0


def test_while_the_relay_is_down_nothing_is_announced_again_and_few_probes_are_written(stage: Stage) -> None:
    consumer = stage.consume(reannounce_every="0.3")
    stage.submit("record", 50)
    until(lambda: job_ran(consumer, 20), what="the job looked many times", seconds=30)
    assert announced(stage) == {1: 50}
    assert 1 <= probes(stage) <= 6, "after 0.3 s, 0.6 s, 1.2 s, ..."
    relayed(stage, lambda: stage.statuses() == {"completed": 50}, what="all tasks are completed")
    before = metric(consumer, "consumers_jobs_total", name=JOB, outcome="ran")
    relayed(stage, lambda: job_ran(consumer, int(before) + 10), what="the job looked again")
    assert announced(stage) == {1: 50}
    assert get(consumer, "/metrics")[1].count("consumers_reannounced_total{") == 0
    assert consumer.terminate() == 0
