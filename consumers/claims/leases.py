"""Extends the leases of this consumer's claims.

Time is the database's clock only. The loop has a connection of its own, so that a claim that waits for a row's lock
delays no lease.
"""

import asyncio
from collections.abc import Callable, Collection

from consumers.claims.claims import Claims
from outboxkit.amqp.format import TaskReference


async def keep(
    claims: Claims,
    claimed: Callable[[], Collection[TaskReference]],
    *,
    times_per_lease: float,
) -> None:
    """Extend the leases of the `claimed` tasks, `times_per_lease` times in each lease, until cancelled."""
    while True:
        await extend(claims, claimed())
        await asyncio.sleep(claims.lease / times_per_lease)


async def extend(claims: Claims, claimed: Collection[TaskReference]) -> None:
    """Extend the leases of the `claimed` tasks once."""
    if claimed:
        await claims.extend(claimed)
