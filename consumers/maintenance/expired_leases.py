"""Releases the claims of consumers that died or lost the database, so that their tasks run again."""

import structlog

from consumers.claims.claims import Claims

log = structlog.get_logger()


async def release(claims: Claims) -> None:
    """Release claims whose lease has expired, of any consumer, and log whose they were."""
    if released := await claims.release_expired():
        log.warning(
            "expired claims released",
            tasks=len(released),
            claimed_by=sorted(set(released.values())),
            remedy="their consumers died or lost their connection; the tasks run again",
        )
