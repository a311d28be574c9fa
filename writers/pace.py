"""When the next tasks may start, at a given rate. Pure: it neither sleeps nor reads a clock."""

import math


class Pace:
    """Spreads tasks evenly at `rate` per second over all writers that share it; unlimited by default."""

    def __init__(self, rate: float = math.inf) -> None:
        self._rate = rate
        self._next = -math.inf

    def delay(self, tasks: int, *, now: float) -> float:
        """Reserve time for `tasks` and return how many seconds after `now` they may start.

        Unused time is not made up for: after a pause there is no burst.
        """
        start = max(self._next, now)
        self._next = start + tasks / self._rate
        return start - now
