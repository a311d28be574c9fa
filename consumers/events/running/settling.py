"""What follows from an attempt: the event is settled, or its lane waits and tries it again.

It parks what cannot be applied, counts, and logs: one line when an event fails first, one when it is parked, and one
when Postgres goes away.
"""

import asyncio
from dataclasses import dataclass
from typing import assert_never

import structlog

from consumers.events.applying.outcomes import Applied, Failed, Gap, Outcome, Skipped, Unavailable
from consumers.events.applying.parking import Parking
from consumers.events.applying.work import Work
from consumers.events.running.policy import Policy
from consumers.watching.event_metrics import EventMetrics

log = structlog.get_logger()
_SHOWN = "`consumers events parked list` shows it; correct the cause, then `consumers events parked redrive {}`"


@dataclass(frozen=True, slots=True)
class Wait:
    """The event is not settled: try it again after `seconds`; `for_more`, at once when more of its lane comes."""

    seconds: float
    for_more: bool = False


class Settling:
    """Decides about outcomes by `policy`."""

    def __init__(self, policy: Policy, parking: Parking, metrics: EventMetrics) -> None:
        self._policy = policy
        self._parking = parking
        self._metrics = metrics
        self._reason = ""
        """Why Postgres is away, as it was logged last."""

    @property
    def up(self) -> bool:
        """Whether the last attempt reached Postgres."""
        return not self._reason

    async def __call__(self, work: Work, outcome: Outcome) -> Wait | None:
        """Return when `work` is tried again, or None if it is settled."""
        if isinstance(outcome, Unavailable):
            return self._unavailable(work, outcome)
        self._available()
        match outcome:
            case Applied():
                self._metrics.count("applied", work.handler.name)
                return None
            case Skipped(why):
                self._metrics.count("stale" if why == "stale" else "duplicate", work.handler.name)
                return None
            case Gap(stored):
                return await self._gap(work, stored)
            case Failed():
                return await self._failed(work, outcome)
            case _:
                assert_never(outcome)

    async def unversioned(self, work: Work) -> None:
        """Park `work`, whose version cannot be checked."""
        error = f"its aggregate_version is {work.event.aggregate_version}, and versions begin at 1"
        await self._park(work, "unversioned", error)

    async def _gap(self, work: Work, stored: int | None) -> Wait | None:
        waited = asyncio.get_running_loop().time() - work.since
        if waited < self._policy.gap:
            if work.backoff is None:
                self._metrics.count("gap", work.handler.name)
                work.backoff = self._policy.backoff()
            return Wait(min(self._policy.look_again, self._policy.gap - waited), for_more=True)
        expected = work.handler.starts_at if stored is None else stored + 1
        await self._park(work, "gap", f"version {expected} of the aggregate was not applied before it")
        return None

    async def _failed(self, work: Work, failed: Failed) -> Wait | None:
        work.failures += 1
        self._metrics.count("failed", work.handler.name)
        if failed.final or work.failures >= self._policy.attempts:
            await self._park(work, "failed", failed.error, failed)
            return None
        if work.failures == 1:
            log.error(
                "event failed",
                **_named(work),
                error=failed.error,
                remedy=f"it is tried up to {self._policy.attempts} times, and then parked",
                traceback=failed.traceback,
            )
            work.backoff = self._policy.backoff()
        backoff = work.backoff = work.backoff or self._policy.backoff()
        return Wait(backoff.next_delay())

    async def _park(self, work: Work, reason: str, error: str, failed: Failed | None = None) -> None:
        committed = failed is not None and failed.committed
        number = await self._parking.park(work, reason, error, committed=committed)
        if number is None:
            self._metrics.count("duplicate", work.handler.name)
            return
        self._metrics.count("parked", work.handler.name)
        trace = {"traceback": failed.traceback} if failed is not None and failed.traceback else {}
        log.error(
            "event parked",
            **_named(work),
            reason=reason,
            error=error,
            attempts=work.failures,
            remedy=_SHOWN.format(number),
            **trace,
        )

    def _unavailable(self, work: Work, outcome: Unavailable) -> Wait:
        if outcome.reason != self._reason:
            report = log.error if outcome.by_operator else log.warning
            what = "an operator must act; it" if outcome.by_operator else "it"
            report(
                "database not available",
                connection="event handlers",
                reason=outcome.reason,
                remedy=f"{what} is tried again until it succeeds",
            )
        self._reason = outcome.reason
        backoff = work.backoff = work.backoff or self._policy.backoff()
        return Wait(backoff.next_delay())

    def _available(self) -> None:
        if self._reason:
            log.info("database available again", connection="event handlers")
        self._reason = ""


def _named(work: Work) -> dict[str, object]:
    event = work.event
    return {
        "handler": work.handler.name,
        "message_id": event.id,
        "type": event.type,
        "aggregate": f"{event.aggregate_type} {event.aggregate_id}",
        "version": event.aggregate_version,
    }
