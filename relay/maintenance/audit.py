"""Audits the outbox beside the stream (RELAY_AUDIT_EVERY): whether what the position covers was confirmed or parked.

Each run goes on where the last one has ended, so each event is looked at once; after a start it looks back an hour. A
stretch of time with events that are not published yet is looked at again. Consumers are left to `relay audit`.
"""

from datetime import timedelta

from relay.core.observations import Audited, Observe
from relay.core.transactions import Transactions
from relay.storage.audit.buckets import Edge
from relay.storage.audit.outcome import count, union
from relay.storage.audit.recent import RecentPast

_LOOK_BACK = timedelta(hours=1)


class Audit:
    """Audits `past`."""

    def __init__(self, past: RecentPast, observe: Observe) -> None:
        self._past = past
        self._observe = observe
        self._after: Edge | None = None
        """Everything before this is audited."""
        self._missing = "{}"
        """The numbers of those that were missing the last time."""

    async def run(self) -> None:
        """Audit what has passed; raises a Problem when that cannot be done now."""
        if self._after is None:
            self._after = await self._past.begin(_LOOK_BACK)
        if self._after is None:
            return
        compared = 0
        for bucket in await self._past.buckets(self._after):
            outcome = await self._past.outcome(bucket)
            self._missing = union([self._missing, outcome.missing_seqs])
            compared += outcome.confirmed + outcome.parked + outcome.missing
            if outcome.pending:
                break
            self._after = bucket.until
        if self._missing != "{}":
            self._missing = await self._past.still_missing(self._missing)
        first = next(Transactions.parse(self._missing).ranges(), None)
        self._observe(Audited(compared, count(self._missing), first and first[0]))
