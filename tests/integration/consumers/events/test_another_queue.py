"""A queue of events that was declared with other properties: the printed remedy, followed to the letter."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pika.channel import Channel

from outboxkit.amqp.connection import Connection
from sandbox import Isolated, Sandbox
from sandbox.machine.waiting import until
from tests.integration.consumers.events.stage import Stage, aggregate
from tests.support.commands import Command

HANDLERS = "tests.integration.consumers.events.handlers"


@pytest.fixture
def stage(isolated: Isolated) -> Stage:
    return Stage(isolated)


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_queue_with_other_properties_is_replaced_and_every_event_is_applied_once(
    stage: Stage, sandbox: Sandbox, tmp_path: Path, processes: ExitStack
) -> None:
    def start(**settings: str) -> Command:
        command = stage.command(tmp_path, "run", handlers=HANDLERS, **settings)
        processes.callback(command.end)
        return command

    asyncio.run(stage.declare_exchange())
    before = start()
    before.logged("consuming events")
    asyncio.run(stage.publish(aggregate("a", (1,))))
    asyncio.run(stage.until("SELECT count(*) FROM applied", 2))
    assert before.terminate() == 0
    asyncio.run(stage.publish(aggregate("a", range(2, 11))))
    refused = start(events_single_active="false")
    assert refused.ended() == 1
    remedy = refused.stderr.splitlines()[-1]
    assert "answered 406" in remedy
    assert "set CONSUMERS_EVENTS_QUEUE to a name that no queue has, and start the consumers" in remedy
    new = stage.isolated.queue("events-2")
    after = start(events_single_active="false", events_queue=new)
    after.logged("consuming events")
    asyncio.run(stage.publish(aggregate("b", range(1, 11))))
    assert "let consumers with the settings that it was declared with run too, and unbind it while they run" in remedy
    before = start()
    before.logged("consuming events")
    asyncio.run(_unbind(stage))
    asyncio.run(stage.publish(aggregate("c", range(1, 11))))
    assert "when they have emptied it, stop them, and delete it: `rabbitmqctl delete_queue NAME`" in remedy
    until(lambda: asyncio.run(stage.messages(stage.queue)) == 0, what="the old queue is empty", seconds=30)
    asyncio.run(stage.until("SELECT count(*) FROM applied", 2 * 30))
    assert before.terminate() == 0
    sandbox.rabbitmq.control("delete_queue", stage.queue)
    asyncio.run(stage.publish(aggregate("c", (11,))))
    asyncio.run(stage.until("SELECT count(*) FROM applied", 2 * 31))
    assert after.terminate() == 0
    everything = [*((name, version) for name in "ab" for version in range(1, 11))]
    everything += [("c", version) for version in range(1, 12)]
    assert sorted(stage.applied("in_threads")) == everything
    for name, last in (("a", 10), ("b", 10), ("c", 11)):
        in_order = [version for each, version in stage.applied("on_the_loop") if each == name]
        assert in_order == list(range(1, last + 1))
    assert stage.parked() == []


async def _unbind(stage: Stage) -> None:
    connection = await Connection.open(stage.isolated.amqp_url, name="test")
    channel: Channel = await connection.channel()
    await connection.call(channel.queue_unbind, stage.queue, stage.isolated.name, "order.*")
    await connection.close()
