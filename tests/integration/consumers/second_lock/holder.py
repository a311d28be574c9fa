"""A process that takes one second lock, prints whether it has it, and holds it until it is killed.

Arguments: advisory or redis, the server's URL, the task's id, the lease.
"""

import asyncio
import sys
from uuid import UUID

from consumers.second_lock import address
from consumers.second_lock.advisory import AdvisoryLocks
from consumers.second_lock.redis import RedisLocks
from consumers.second_lock.served import ServedLock


async def main(kind: str, url: str, task: str, lease: str) -> None:
    """Hold the lock."""
    server = (
        AdvisoryLocks(lambda: url, name="holder", lease=float(lease))
        if kind == "advisory"
        else RedisLocks(lambda: address.read(url), ttl=float(lease))
    )
    async with (
        ServedLock(server, name=kind, lease=float(lease), count=lambda _: None) as lock,
        lock.hold_async(UUID(task)) as held,
    ):
        print(held, flush=True)  # noqa: T201 - its whole output
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
