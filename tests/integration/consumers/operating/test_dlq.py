"""`consumers dlq` as a process: what it shows, what it moves back, and that nothing is lost on the way."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pika.channel import Channel

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import DELIVERY_LIMIT, dead_letter_queue
from sandbox import Isolated, Sandbox
from sandbox.machine.waiting import until
from tests.integration.consumers.stage import Stage
from tests.support.commands import Command
from tests.support.rabbitmq import version
from tests.support.users import user


@pytest.fixture
def stage(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        made = Stage(isolated, tmp_path, stack)
        assert made.consume().terminate() == 0  # it has declared the queues
        yield made


def dead_letter(stage: Stage, count: int) -> None:
    """Reject the messages that wait, as RabbitMQ does at the delivery limit."""
    before = stage.dead or 0

    async def use(connection: Connection, channel: Channel) -> None:
        await connection.call(channel.basic_consume, stage.queue, reject)
        while len(rejected) < count:
            await connection.call(channel.basic_qos, prefetch_count=0)

    rejected: list[int] = []

    def reject(channel: Channel, method: Any, *_: object) -> None:  # noqa: ANN401 - pika's
        channel.basic_reject(method.delivery_tag, requeue=False)
        rejected.append(method.delivery_tag)

    stage.broker(use)
    until(lambda: stage.dead == before + count, what="they are in the dead-letter queue", seconds=30)


def has(stage: Stage, *, ready: int, dead: int) -> None:
    """Wait until there are so many messages in the queue and its dead-letter queue: what a command held comes back."""
    until(
        lambda: (stage.ready(stage.queue), stage.dead) == (ready, dead),
        what=f"{ready} messages wait, and {dead} are dead-lettered",
        seconds=30,
    )


def _fewer(stage: Stage, than: int, command: Command) -> bool:
    return (stage.dead or 0) < than or not command.running


def listed(stage: Stage, *options: str) -> list[dict[str, Any]]:
    command = stage.command("dlq", "list", "--json", *options)
    assert command.ended() == 0, command.stderr
    return list(json.loads(command.stdout)["messages"])


def redrive(stage: Stage, *options: str) -> dict[str, Any]:
    command = stage.command("dlq", "redrive", "--yes", "--json", *options)
    assert command.ended() == 0, command.stderr
    return dict(json.loads(command.stdout))


def test_a_dead_letter_is_listed_with_its_reason_and_its_task_and_stays(stage: Stage) -> None:
    empty = stage.command("dlq", "list")
    assert (empty.ended(), empty.stdout) == (0, "the dead-letter queue is empty\n")
    nothing = stage.command("dlq", "redrive")  # it asks nothing
    assert (nothing.ended(), nothing.stdout) == (0, "0 redriven, 0 discarded, 0 left\n")
    waits, gone = stage.submit("record", 2)
    stage.relay()
    stage.publish({"aggregate_type": "order", "aggregate_id": "7", "aggregate_version": 1})
    dead_letter(stage, 3)
    stage.database.execute("SELECT tasks.cancel(%s)", [gone])
    deliveries = []
    for _ in range(3):
        found = listed(stage)
        deliveries.append([each["deliveries"] for each in found])
        assert [(each["task"], each["state"], each["about"], each["reason"]) for each in found] == [
            (str(waits), "waits", "record pending", "rejected"),
            (str(gone), "stale", "record cancelled", "rejected"),
            (None, "event", "header aggregate_type is 'order', not 'task'", "rejected"),
        ]
        assert all(each["age_seconds"] is not None and each["message_id"] for each in found)
    _, second, third = deliveries  # RabbitMQ 4 shows the queue's own delivery too: 4.0 at the first look, 4.3 always
    assert set(second) <= {1, 2}
    assert third == [count + 1 for count in second], "RabbitMQ counts what is put back"
    assert len(listed(stage, "--limit", "2")) == 2
    table = stage.command("dlq", "list", "--limit", "1")
    assert table.ended() == 0
    assert "2 more than listed" in table.stdout
    has(stage, ready=0, dead=3)


def test_messages_that_died_at_the_delivery_limit_outlive_each_look_and_move_back(stage: Stage) -> None:
    """RabbitMQ 4.3 counts on in the dead-letter queue, and drops what is put back beyond the limit."""
    submitted = sorted(map(str, stage.submit("record", 3)))
    stage.relay()

    async def use(connection: Connection, channel: Channel) -> None:
        await connection.call(channel.basic_consume, stage.queue, put_back)
        while len(deliveries) < 3 * (DELIVERY_LIMIT + 1):
            await connection.call(channel.basic_qos, prefetch_count=0)

    deliveries: list[int] = []

    def put_back(channel: Channel, method: Any, *_: object) -> None:  # noqa: ANN401 - pika's
        deliveries.append(method.delivery_tag)
        channel.basic_reject(method.delivery_tag, requeue=True)

    def tasks(*options: str) -> list[str]:
        has(stage, ready=0, dead=3)
        found = listed(stage, *options)
        assert {(each["state"], each["reason"]) for each in found} == {("waits", "delivery_limit")}
        assert all(each["age_seconds"] is not None for each in found)
        return [each["task"] for each in found]

    stage.broker(use)
    first = tasks("--limit", "1")
    order = tasks()
    if version(stage.isolated.amqp_url) < (4, 3):
        assert order[:1] == first, "it is in its place"
        after = order
    else:
        assert order[2:] == first, "the others were not touched, and it is behind them"
        after = [*first, *order[:2]]
    assert sorted(order) == submitted
    assert tasks() == after
    assert redrive(stage, "--dry-run")["redriven"] == 3
    assert tasks() == after
    assert redrive(stage)["redriven"] == 3
    has(stage, ready=3, dead=0)


def test_messages_whose_task_waits_move_back_and_others_stay_unless_they_are_to_be_removed(stage: Stage) -> None:
    waits, gone = stage.submit("record", 2)
    stage.relay()
    stage.publish({"aggregate_type": "task"})
    dead_letter(stage, 3)
    stage.database.execute("SELECT tasks.cancel(%s)", [gone])
    asked = stage.command("dlq", "redrive")
    assert asked.ended() == 1, "nobody answers"
    dry = redrive(stage, "--dry-run")
    counts = {"matched": 3, "redriven": 1, "discarded": 0, "left": 2}
    assert dry == {"dry_run": True, **counts, "waits": 1, "stale": 1, "undecodable": 1}
    has(stage, ready=0, dead=3)
    done = redrive(stage)
    assert (done["redriven"], done["discarded"], done["left"]) == (1, 0, 2)
    has(stage, ready=1, dead=2)
    done = redrive(stage, "--discard-stale", "--discard")
    assert (done["redriven"], done["discarded"], done["left"]) == (0, 2, 0)
    has(stage, ready=1, dead=0)
    stage.consume()
    stage.reaches(completed=1, cancelled=1)
    assert stage.effects() == [waits]
    assert redrive(stage) == {"dry_run": False, "matched": 0, "redriven": 0, "discarded": 0, "left": 0}


def test_an_event_is_never_removed_with_what_names_no_task(stage: Stage) -> None:
    stage.publish({"aggregate_type": "order", "aggregate_id": "7", "aggregate_version": 1})
    dead_letter(stage, 1)
    done = redrive(stage, "--discard", "--discard-stale")
    assert (done["discarded"], done["left"], done["event"]) == (0, 1, 1)
    has(stage, ready=0, dead=1)


def test_one_message_is_chosen_by_its_id_and_keeps_it(stage: Stage) -> None:
    stage.submit("record", 3)
    stage.relay()
    dead_letter(stage, 3)
    second = listed(stage)[1]
    assert redrive(stage, "--id", second["message_id"])["redriven"] == 1
    has(stage, ready=1, dead=2)
    dead_letter(stage, 1)
    assert [each["message_id"] for each in listed(stage)][-1] == second["message_id"]
    missing = stage.command("dlq", "redrive", "--yes", "--id", "nobody")
    assert missing.ended() == 1
    assert "not among the first 10000 messages: nobody" in missing.stderr
    has(stage, ready=0, dead=3)


def test_nothing_is_lost_when_the_queue_is_not_there(stage: Stage) -> None:
    stage.submit("record", 5)
    stage.relay()
    dead_letter(stage, 5)

    async def delete(connection: Connection, channel: Channel) -> None:
        await connection.call(channel.queue_delete, stage.queue)

    stage.broker(delete)
    command = stage.command("dlq", "redrive", "--yes")
    assert command.ended() == 1
    assert "start one, and repeat this" in command.stderr
    until(lambda: stage.dead == 5, what="all are back", seconds=30)
    stage.consume()
    assert redrive(stage)["redriven"] == 5
    stage.reaches(completed=5)


def test_a_process_that_is_killed_at_any_moment_loses_nothing(stage: Stage) -> None:
    count = 600
    stage.submit("record", count)
    stage.relay()
    dead_letter(stage, count)
    for _ in range(3):
        command = stage.command("dlq", "redrive", "--yes")
        before = stage.dead or 0
        until(partial(_fewer, stage, before, command), what="it moves", seconds=30)
        if command.running:
            command.process.send_signal(signal.SIGKILL)
        command.ended()
    until(lambda: (stage.ready(stage.queue) or 0) + (stage.dead or 0) >= count, what="all are somewhere", seconds=30)
    redrive(stage)
    stage.consume()
    stage.reaches(completed=count)
    assert len(stage.effects()) == len(set(stage.effects())) == count


def test_a_user_may_do_so_who_reads_the_dead_letter_queue_and_writes_to_the_default_exchange(
    stage: Stage, sandbox: Sandbox
) -> None:
    stage.submit("record")
    stage.relay()
    dead_letter(stage, 1)
    with user(sandbox.rabbitmq, sandbox.servers.amqp_url, uuid4().hex) as operator:
        operator.permit(
            configure="^$", write="^amq[.]default$", read=f"^{dead_letter_queue(stage.queue).replace('.', '[.]')}$"
        )
        asked = stage.command("dlq", "redrive", amqp_url=operator.url)
        assert asked.ended() == 1, "nobody answers"
        assert "Redrive 1 messages at most" in asked.stdout
        command = stage.command("dlq", "redrive", "--yes", "--json", amqp_url=operator.url)
        assert command.ended() == 0, command.stderr
        assert json.loads(command.stdout)["redriven"] == 1
        operator.permit(configure="^$", write="^$", read="^$")
        refused = stage.command("dlq", "list", amqp_url=operator.url)
        assert refused.ended() == 1
        assert "answered 403" in refused.stderr
