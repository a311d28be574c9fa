"""Keeps the leases of running claims, and releases those of consumers that are gone.

The two go together: a consumer that cannot extend its leases loses them to whoever can reach the database. Time is
the database's alone. It has a connection of its own, so that a claim that waits for a row's lock costs no lease.
"""

import asyncio
from collections.abc import Callable, Collection

import structlog

from consumers.claims.claims import Claims
from outboxkit.amqp.format import TaskReference

log = structlog.get_logger()

# Three chances to extend a lease before it runs out.
_PER_LEASE = 3


async def keep(claims: Claims, held: Callable[[], Collection[TaskReference]]) -> None:
    """Extend the leases of `held` claims and release expired ones, a few times in each lease, until cancelled."""
    while True:
        if current := held():
            await claims.extend(current)
        if released := await claims.release_expired():
            log.warning(
                "expired claims released",
                tasks=len(released),
                claimed_by=sorted(set(released.values())),
                remedy="their consumers died or were cut off; the tasks run again",
            )
        await asyncio.sleep(claims.lease / _PER_LEASE)
