"""Watches the slot beside the stream: how much WAL it retains, and whether Postgres may remove it. It only reports."""

from relay.core.observations import Observe, SlotWatched
from relay.storage.slot import SlotView

WATCH_EVERY = 10.0
"""Seconds."""


class Guardian:
    """Looks at the slot through `view`."""

    def __init__(self, view: SlotView, observe: Observe) -> None:
        self._view = view
        self._observe = observe

    async def look(self) -> None:
        """Look once; raises a Problem when Postgres cannot be asked."""
        state = await self._view.state()
        self._observe(
            SlotWatched(state.retained_bytes, state.lag_bytes, state.wal_status, state.safe_wal_size, state.parked)
        )
