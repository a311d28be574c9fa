"""`consumers run` on a queue that others have declared and bound, as `relay setup --topology` does."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pika.channel import Channel

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import declare_unbound
from sandbox import Isolated
from tests.integration.consumers.events.stage import Sent, Stage, aggregate
from tests.support.commands import Command

Start = Callable[..., Command]
HANDLERS = "tests.integration.consumers.events.handlers"


@pytest.fixture
def stage(isolated: Isolated) -> Stage:
    stage = Stage(isolated)
    asyncio.run(stage.declare_exchange())
    return stage


@pytest.fixture
def start(stage: Stage, tmp_path: Path) -> Iterator[Start]:
    """Return what starts `consumers run`, which binds nothing; processes end with the test."""
    with ExitStack() as stack:

        def starting(**settings: str) -> Command:
            command = stage.command(tmp_path, "run", handlers=HANDLERS, events_bind="false", **settings)
            stack.callback(command.end)
            return command

        yield starting


def on_channel(stage: Stage, act: Callable[[Connection, Channel], object]) -> None:
    async def run() -> None:
        connection = await Connection.open(stage.isolated.amqp_url, name="test")
        await act(connection, await connection.channel())  # type: ignore[misc]
        await connection.close()

    asyncio.run(run())


def declare(stage: Stage, *, single_active: bool = True) -> None:
    on_channel(
        stage,
        lambda connection, channel: declare_unbound(connection, channel, stage.queue, single_active=single_active),
    )


def test_it_applies_what_others_have_bound_in_order_by_one_of_two_and_binds_nothing(stage: Stage, start: Start) -> None:
    declare(stage)
    consumers = [start(), start()]
    for each in consumers:
        each.logged("consuming events")
    asyncio.run(stage.publish([Sent("elsewhere", 1)]))  # there are handlers for it, and no queue gets it

    async def bind(connection: Connection, channel: Channel) -> None:
        await connection.call(channel.queue_bind, stage.queue, stage.isolated.name, "#")

    on_channel(stage, bind)
    asyncio.run(stage.publish(aggregate("a", range(1, 21))))
    asyncio.run(stage.until("SELECT count(*) FROM applied", 40))
    assert stage.applied("on_the_loop") == [("a", version) for version in range(1, 21)]
    assert stage.rows("SELECT count(DISTINCT by) FROM applied") == [(1,)]
    assert [each.terminate() for each in consumers] == [0, 0]


def test_a_queue_that_is_missing_is_not_made(stage: Stage, start: Start) -> None:
    consumer = start()
    assert consumer.ended() == 1
    said = consumer.stderr.splitlines()[-1]
    assert f"queue '{stage.queue}' does not exist, and CONSUMERS_EVENTS_BIND is false" in said
    assert "run `relay setup --topology`, which declares and binds it" in said
    declare(stage)  # as it says
    start().logged("consuming events")


@pytest.mark.parametrize("other", ["another consumer at once", "a stream"])
def test_a_queue_of_another_kind_is_refused(stage: Stage, start: Start, other: str) -> None:
    if other == "a stream":

        async def stream(connection: Connection, channel: Channel) -> None:
            arguments = {"x-queue-type": "stream"}
            await connection.call(channel.queue_declare, stage.queue, durable=True, arguments=arguments)

        on_channel(stage, stream)
    else:
        declare(stage, single_active=False)
    consumer = start()
    assert consumer.ended() == 1
    said = consumer.stderr.splitlines()[-1]
    assert "answered 406" in said
    assert "it is no queue that `relay setup --topology hash:N` has declared" in said
