"""Extends the leases of this consumer's claims.

Time is the database's clock only. The loop has a connection of its own, so that a claim that waits for a row's lock
delays no lease.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection

from consumers.claims.claims import Claims
from outboxkit.amqp.format import TaskReference


async def keep(
    claims: Claims,
    claimed: Callable[[], Collection[TaskReference]],
    then: Callable[[], Awaitable[None]],
    *,
    times_per_lease: float,
) -> None:
    """Extend the leases of the `claimed` tasks, `times_per_lease` times in each lease, until cancelled.

    `then` runs after each time: a consumer that was suspended extends its own leases before it judges others'.
    """
    while True:
        if current := claimed():
            await claims.extend(current)
        await then()
        await asyncio.sleep(claims.lease / times_per_lease)
