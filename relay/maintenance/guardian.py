"""Watches the slot beside the stream: how much WAL it holds back, and whether Postgres may take it away.

It only tells. It also keeps the outbox's partitions made ahead, which is the other thing that must be looked after
while nobody looks.
"""

import asyncio

from outboxkit.errors import Problem
from relay.core.observations import NotStored, Observe, SlotWatched
from relay.storage.checkpoint import CheckpointStore

_WATCH_EVERY = 10.0
_PARTITIONS_EVERY = 3600.0


async def watch(store: CheckpointStore, observe: Observe) -> None:
    """Look every ten seconds, until cancelled."""
    while True:
        try:
            state = await store.watch()
        except Problem as problem:
            observe(NotStored("the state of the slot", problem))
        else:
            observe(
                SlotWatched(state.retained_bytes, state.lag_bytes, state.wal_status, state.safe_wal_size, state.parked)
            )
        await asyncio.sleep(_WATCH_EVERY)


async def keep_partitions(store: CheckpointStore, observe: Observe) -> None:
    """Keep a week of outbox partitions ahead; rows of a missing day would go to the default partition meanwhile."""
    while True:
        try:
            await store.create_partitions()
        except Problem as problem:
            observe(NotStored("partitions", problem))
        await asyncio.sleep(_PARTITIONS_EVERY)
