"""What holds the stream. In each block nothing is confirmed any more; after it, everything can be.

The relay has RELAY_ON_RETURN=retry.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.faults.run import Run
from tests.support.tap import Tap

Hold = Callable[[Run], AbstractContextManager[None]]

_ROOM = 300


@contextmanager
def window_full(run: Run) -> Iterator[None]:
    """Keep RabbitMQ's answers from the relay."""
    run.broker.swallow_to_client.set()
    run.commit(_ROOM, "full")
    yield
    run.broker.swallow_to_client.clear()
    run.broker.cut()


@contextmanager
def returned(run: Run) -> Iterator[None]:
    """Leave no queue that takes a message."""
    run.tap.unbind()
    run.relay.logged("message returned")
    yield
    run.tap.bind()


@contextmanager
def nacked(run: Run) -> Iterator[None]:
    """Fill the only queue, which then rejects."""
    isolated = run.stage.isolated
    policy, queue = f"{isolated.name}.full", isolated.queue("full")
    definition = f'{{"max-length": {_ROOM}, "overflow": "reject-publish"}}'
    run.box.rabbitmq.control("set_policy", policy, f"^{queue}$", definition)
    full = Tap(isolated.amqp_url, queue=queue, exchange=isolated.name)
    run.tap.unbind()
    run.relay.logged("message nacked")
    yield
    run.box.rabbitmq.control("clear_policy", policy)
    run.taken += run.tap.drain()
    run.tap = full


@contextmanager
def refused(run: Run) -> Iterator[None]:
    """Delete the exchange."""
    with run.tap.channel() as channel:
        channel.exchange_delete(run.stage.isolated.name)
    run.relay.complains("answered 404")
    yield
    with run.tap.channel() as channel:
        channel.exchange_declare(run.stage.isolated.name, "topic", durable=True)
    run.tap.bind()


@contextmanager
def blocked(run: Run) -> Iterator[None]:
    """Raise an alarm in RabbitMQ."""
    run.box.rabbitmq.control("set_vm_memory_high_watermark", "0")
    try:
        run.relay.logged("broker blocked")
        yield
    finally:
        run.box.rabbitmq.control("set_vm_memory_high_watermark", "0.4")


@contextmanager
def away(run: Run) -> Iterator[None]:
    """Let nobody reach RabbitMQ."""
    run.broker.refuse.set()
    run.broker.cut()
    run.relay.logged("broker not available")
    yield
    run.broker.refuse.clear()


HOLDS: dict[str, Hold] = {
    "the window is full": window_full,
    "a message is returned": returned,
    "a message is nacked": nacked,
    "a message is refused": refused,
    "RabbitMQ is blocked": blocked,
    "RabbitMQ is away": away,
}
