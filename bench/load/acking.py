"""Takes deliveries from a queue and acknowledges them, and nothing else: a process (`python -m bench.load.acking`).

It shows what a consumer in Python could reach at most. `by_hand` uses the consumers' own subscription, which decodes
deliveries by hand; otherwise pika does everything.
"""

import asyncio
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.load import programs
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.consuming.subscription import Subscription
from outboxkit.errors import Problem

_AT_ONCE = 500
"""As many deliveries as a consumer claims at once."""


@dataclass(frozen=True, slots=True)
class Acked:
    """From the request for deliveries to the last one."""

    deliveries: int
    seconds: float
    cpu: float
    """CPU seconds of the process."""


class _Clock:
    def __init__(self) -> None:
        self._began = time.monotonic(), time.process_time()

    def read(self, count: int) -> Acked:
        """Return what has passed since the start, in which `count` deliveries were acknowledged."""
        return Acked(count, time.monotonic() - self._began[0], time.process_time() - self._began[1])


async def run(*, amqp_url: str, queue: str, events: int, prefetch: int, by_hand: bool) -> Acked:
    """Acknowledge `events` deliveries; return how long it took."""
    connection = await Connection.open(amqp_url, name="bench acking")
    try:
        return await (_by_hand if by_hand else _by_pika)(connection, queue, events, prefetch)
    finally:
        await connection.close()


async def _by_hand(connection: Connection, queue: str, events: int, prefetch: int) -> Acked:
    clock, count = _Clock(), 0
    subscription = await Subscription.open(connection, queue, prefetch=prefetch)
    while count < events:
        deliveries = await subscription.receive(_AT_ONCE)
        for delivery in deliveries:
            subscription.ack(delivery)
        count += len(deliveries)
    acked = clock.read(count)
    await subscription.close()
    return acked


async def _by_pika(connection: Connection, queue: str, events: int, prefetch: int) -> Acked:
    ended: asyncio.Future[Acked] = asyncio.get_running_loop().create_future()

    def lost(problem: Problem) -> None:
        if not ended.done():
            ended.set_exception(problem)

    channel = await connection.channel(lost)
    clock, count = _Clock(), 0

    def on_message(_: object, method: Any, __: object, ___: bytes) -> None:  # noqa: ANN401 - pika's
        nonlocal count
        channel.basic_ack(method.delivery_tag)
        count += 1
        if count == events and not ended.done():
            ended.set_result(clock.read(count))

    await connection.call(channel.basic_qos, prefetch_count=prefetch)
    await connection.call(channel.basic_consume, queue, on_message)
    return await ended


def read(result: Path) -> Acked:
    """Return what this process wrote."""
    return Acked(**json.loads(result.read_text(encoding="ascii")))


def main(arguments: dict[str, Any]) -> None:
    """Call `run` with `arguments`, and write what it returns to `result`."""
    result = Path(arguments.pop("result"))
    result.write_text(json.dumps(asdict(asyncio.run(run(**arguments)))), encoding="ascii")


if __name__ == "__main__":
    main(programs.arguments())
