"""A queue or exchange that was declared with other properties (406): the printed remedy, followed to the letter."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pika.channel import Channel

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.format import TASK_PENDING
from outboxkit.amqp.topology import dead_letter_queue
from sandbox import Isolated, Sandbox
from sandbox.machine.waiting import until
from tests.integration.consumers.stage import Stage
from tests.support.commands import Command

QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}
OURS = {**QUORUM, "x-delivery-limit": 20, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": ""}


@pytest.fixture
def stage(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(isolated, tmp_path, stack)


def declare(stage: Stage, queue: str, arguments: dict[str, Any], *, durable: bool = True) -> None:
    async def use(connection: Connection, channel: Channel) -> None:
        await connection.call(channel.queue_declare, queue, durable=durable, arguments=arguments)
        await connection.call(channel.queue_bind, queue, stage.exchange, TASK_PENDING)

    stage.broker(use)


def deleted(stage: Stage, sandbox: Sandbox, queue: str) -> bool:
    sandbox.rabbitmq.control("delete_queue", queue)
    return stage.ready(queue) is None


DIFFERENCES: dict[str, Callable[[Stage], None]] = {
    "another type": lambda stage: declare(stage, stage.queue, {"x-queue-type": "classic"}),
    "not durable": lambda stage: declare(stage, stage.queue, {}, durable=False),
    "another delivery limit": lambda stage: declare(stage, stage.queue, {**OURS, "x-delivery-limit": 5}),
    "no dead-letter exchange": lambda stage: declare(stage, stage.queue, {**QUORUM, "x-delivery-limit": 20}),
    "a maximum length": lambda stage: declare(
        stage, stage.queue,
        {**OURS, "x-dead-letter-routing-key": dead_letter_queue(stage.queue), "x-max-length": 1000},
    ),
}  # fmt: skip


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_a_queue_with_other_properties_is_replaced_and_no_task_is_lost(
    stage: Stage, sandbox: Sandbox, difference: str
) -> None:
    DIFFERENCES[difference](stage)
    stage.submit("record", 20)
    stage.relay()
    until(lambda: stage.ready(stage.queue) == 20, what="the old queue has the messages", seconds=30)
    refused = stage.command("run")
    assert refused.ended() == 1
    assert "answered 406" in refused.stderr
    remedy = refused.stderr.splitlines()[-1]
    assert "set CONSUMERS_QUEUE to a name that no queue has, and start the consumers" in remedy
    old, stage.queue = stage.queue, stage.isolated.queue("tasks-2")
    stage.settings["CONSUMERS_QUEUE"] = stage.queue
    consumer = stage.consume(reannounce_every="0.2")
    until(lambda: (stage.relay(), stage.statuses() == {"completed": 20})[1], what="all run", seconds=60)
    consumer.logged("tasks announced again")
    assert "`rabbitmqctl delete_queue NAME`" in remedy
    assert deleted(stage, sandbox, old)
    stage.submit("record")
    stage.relay()
    stage.reaches(completed=21)
    assert len(stage.effects()) == 21
    assert consumer.terminate() == 0


def test_a_dead_letter_queue_with_other_properties_is_replaced_with_its_queue(stage: Stage, sandbox: Sandbox) -> None:
    declare(stage, dead_letter_queue(stage.queue), {"x-queue-type": "classic"})
    refused = stage.command("run")
    assert refused.ended() == 1
    assert f"for queue '{dead_letter_queue(stage.queue)}'" in refused.stderr
    assert "set CONSUMERS_QUEUE to a name" in refused.stderr
    old, stage.settings["CONSUMERS_QUEUE"] = dead_letter_queue(stage.queue), stage.isolated.queue("tasks-2")
    assert stage.consume().terminate() == 0
    assert deleted(stage, sandbox, old)


def test_an_exchange_with_other_properties_is_replaced(stage: Stage, tmp_path: Path) -> None:
    async def remake(connection: Connection, channel: Channel) -> None:
        await connection.call(channel.exchange_delete, stage.exchange)
        await connection.call(channel.exchange_declare, stage.exchange, exchange_type="direct", durable=True)

    stage.broker(remake)
    own = {
        "RELAY_DATABASE_URL": stage.isolated.database_url,
        "RELAY_AMQP_URL": stage.isolated.amqp_url,
        "RELAY_NAME": stage.isolated.name,
        "RELAY_SLOT": stage.isolated.name,
        "RELAY_SOURCE": "polling",
    }

    def setup(exchange: str) -> Command:
        settings = {**own, "RELAY_EXCHANGE": exchange}
        return Command(f"setup-{exchange}", ["relay", "setup"], settings, tmp_path)

    refused = setup(stage.exchange)
    assert refused.ended() == 1
    assert "set RELAY_EXCHANGE and CONSUMERS_EXCHANGE to a name that no exchange has" in refused.stderr
    new = f"{stage.exchange}.2"
    assert setup(new).ended(seconds=60) == 0
    stage.exchange = stage.settings["CONSUMERS_EXCHANGE"] = new
    stage.consume()
    stage.submit("record")
    stage.relay()
    stage.reaches(completed=1)
