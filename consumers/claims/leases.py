"""Extends the leases of this consumer's claims, then releases expired claims of any consumer.

The order matters: a consumer that was suspended extends its own leases first. Time is the database's clock only. The
loop has a connection of its own, so that a claim that waits for a row's lock delays no lease.
"""

import asyncio
from collections.abc import Callable, Collection

from consumers.claims.claims import Claims
from consumers.maintenance import expired_leases
from outboxkit.amqp.format import TaskReference


async def keep(claims: Claims, claimed: Callable[[], Collection[TaskReference]], *, times_per_lease: float) -> None:
    """Extend the leases of the `claimed` tasks, `times_per_lease` times in each lease, until cancelled."""
    while True:
        if current := claimed():
            await claims.extend(current)
        await expired_leases.release(claims)
        await asyncio.sleep(claims.lease / times_per_lease)
