"""Extends the leases of this consumer's claims.

Time is the database's clock only. The loop has a connection of its own: a statement of claims or of outcomes may take
long, as may the wait for Postgres to come back on their connections, and neither delays an extension.
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
    again: float,
) -> None:
    """Extend the leases of the `claimed` tasks, `times_per_lease` times in each lease, until cancelled.

    Those whose rows were locked are tried again after `again` seconds: a lease may run out before the next time.
    """
    while True:
        left = claims.lease / times_per_lease
        locked = await extend(claims, claimed())
        while locked and left > again:
            await asyncio.sleep(again)
            left -= again
            locked = await extend(claims, locked.intersection(claimed()))
        await asyncio.sleep(left)


async def extend(claims: Claims, claimed: Collection[TaskReference]) -> set[TaskReference]:
    """Extend the leases of the `claimed` tasks once; return those that were not extended."""
    return await claims.extend(claimed) if claimed else set()
