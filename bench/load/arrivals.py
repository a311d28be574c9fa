"""Records when each message of a queue arrives at a consumer: a process (`python -m bench.load.arrivals`).

Its times can be compared with Postgres' commit timestamps, since both run on one machine.
"""

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

from bench.load import programs
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.consuming.subscription import Subscription

_PREFETCH = 2000


async def run(*, amqp_url: str, queue: str, events: int, times: Path) -> list[tuple[str, float]]:
    """Consume until `events` distinct messages have come, or SIGTERM; return each arrival's id and time.

    The file `times` is made, empty, as soon as the queue is consumed.
    """
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connection = await Connection.open(amqp_url, name="bench arrivals")
    subscription = await Subscription.open(connection, queue, prefetch=_PREFETCH)
    await asyncio.to_thread(times.touch)
    arrivals: list[tuple[str, float]] = []
    consuming = asyncio.create_task(_consume(subscription, events, arrivals))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([consuming, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    consuming.cancel()
    await asyncio.gather(consuming, stopping, return_exceptions=True)
    await subscription.close()
    return arrivals


async def _consume(subscription: Subscription, events: int, arrivals: list[tuple[str, float]]) -> None:
    distinct: set[str] = set()
    while len(distinct) < events:
        deliveries = await subscription.receive(_PREFETCH)
        now = time.time()
        for delivery in deliveries:
            message_id = str(delivery.message_id)
            arrivals.append((message_id, now))
            distinct.add(message_id)
            subscription.ack(delivery)


def read(times: Path) -> list[tuple[str, float]]:
    """Return what this process wrote: ids and seconds since 1970, in the order of arrival."""
    lines = (line.split() for line in times.read_text(encoding="ascii").splitlines())
    return [(message_id, float(at)) for message_id, at in lines]


def main(arguments: dict[str, Any]) -> None:
    """Call `run` with `arguments`, and write a line `id seconds` for each arrival to `times`."""
    times = Path(arguments.pop("times"))
    arrivals = asyncio.run(run(**arguments, times=times))
    times.write_text("".join(f"{message_id} {at:.6f}\n" for message_id, at in arrivals), encoding="ascii")


if __name__ == "__main__":
    main(programs.arguments())
