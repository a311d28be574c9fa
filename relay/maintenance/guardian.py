"""Watches the slot beside the stream: how much WAL it retains, whether Postgres may remove it, and what to do about it.

A slot that nobody confirms retains WAL until the disk is full, and then the database stops. So it has a budget: at half
of it the guardian warns, and at all of it the slot is let go, while the events are still in the table to be polled.
"""

from collections.abc import Awaitable, Callable

from relay.core.observations import Observe, SlotBudget, SlotFills, SlotWatched
from relay.storage.facts import SlotState
from relay.storage.slots.slot import SlotView

WATCH_EVERY = 10.0
"""Seconds."""
_OF_THE_LIMIT = 0.8
_WITHOUT_A_LIMIT = 10 << 30
_AT_LEAST = 64 << 20
"""A slot that is read all the time retains a few segments of WAL."""
_WARN = 0.5


def budget(own: int | None, keep_size_mib: int) -> int:
    """Return how many bytes of WAL the slot may retain: what is set, or a part of max_slot_wal_keep_size.

    https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-MAX-SLOT-WAL-KEEP-SIZE
    """
    if own is not None:
        return own
    return _WITHOUT_A_LIMIT if keep_size_mib < 0 else max(_AT_LEAST, int(_OF_THE_LIMIT * (keep_size_mib << 20)))


class Guardian:
    """Looks at the slot through `view`; `let_go`, if there is one, is called when it retains more than its budget."""

    def __init__(
        self, view: SlotView, observe: Observe, *, own_budget: int | None, let_go: Callable[[], Awaitable[None]] | None
    ) -> None:
        self._view = view
        self._observe = observe
        self._own_budget = own_budget
        self._let_go = let_go
        self._said: int | None = None

    async def look(self) -> None:
        """Look once; raises a Problem when Postgres cannot be asked, or the slot cannot be let go."""
        state = await self._view.state()
        self._observe(
            SlotWatched(state.retained_bytes, state.lag_bytes, state.wal_status, state.safe_wal_size, state.parked)
        )
        await self._judge(state)

    async def _judge(self, state: SlotState) -> None:
        allowed = budget(self._own_budget, state.keep_size_mib)
        if allowed != self._said:
            self._observe(SlotBudget(allowed, self._let_go is not None))
            self._said = allowed
        if state.retained_bytes >= _WARN * allowed:
            self._observe(SlotFills(state.retained_bytes, allowed))
        if state.retained_bytes >= allowed and self._let_go is not None:
            await self._let_go()
