"""Releases the claims of consumers that died or lost the database, so that their tasks run again."""

from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from consumers.claims.claims import Claims
from consumers.maintenance.declaring.registry import Jobs

log = structlog.get_logger()
_TIMES_PER_LEASE = 3


def register(jobs: Jobs, claims: Claims, extend_own: Callable[[], Awaitable[None]]) -> None:
    """Add the job; `extend_own` extends the leases of this consumer's claims."""

    @jobs.task_lock("consumers.release-expired-leases", every=claims.lease / _TIMES_PER_LEASE)
    async def release_expired_leases() -> None:
        await extend_own()  # a consumer that was suspended extends its own leases before it judges others'
        await release(claims)


async def release(claims: Claims) -> None:
    """Release claims whose lease has expired, of any consumer, and log whose they were."""
    if released := await claims.release_expired():
        log.warning(
            "expired claims released",
            tasks=len(released),
            claimed_by=sorted({who for who, _ in released}),
            became=dict(sorted(Counter(status for _, status in released).items())),
            remedy="their consumers died or lost their connection; pending tasks run again, dead ones had their last "
            "attempt (`consumers dead list`), cancelled ones were asked to stop",
        )
