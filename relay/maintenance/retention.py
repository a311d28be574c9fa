"""Removes what is published and old from the outbox, by whole partitions.

The database checks again under its lock whether every relay has published what a partition has, so that any number of
relays may try at once (sql/schema/010_sources.sql, outbox.drop_partition). While the outbox is in use by a transaction
that stays open, each attempt makes writers wait, so there is one attempt at a time.
"""

from relay.core.observations import Observe, Retired
from relay.storage.retention import OldPartitions

RUN_EVERY = 600.0
"""Seconds."""


class Retention:
    """Drops the partitions that `old` names."""

    def __init__(self, old: OldPartitions, observe: Observe) -> None:
        self._old = old
        self._observe = observe

    async def run(self) -> None:
        """Drop what may be dropped now; raises a Problem when Postgres cannot be asked."""
        for found in await self._old.list():
            if found.obstacle is not None:
                continue
            if await self._old.drop(found.partition) is not None:
                break  # what keeps this one keeps the next
            self._observe(Retired(found.partition))
        while await self._old.drain():
            pass
