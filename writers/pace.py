"""When the next tasks may start, at a given rate. Pure: it neither sleeps nor reads a clock."""

import math


class Pace:
    """Spreads tasks evenly at `rate` per second, over however many writers ask; unlimited by default."""

    def __init__(self, rate: float = math.inf) -> None:
        self._rate = rate
        self._next = -math.inf

    def delay(self, tasks: int, *, now: float) -> float:
        """Reserve room for `tasks` and return how many seconds from `now` to wait before they start.

        Time that was missed is not made up for: a burst after a pause is not a rate.
        """
        start = max(self._next, now)
        self._next = start + tasks / self._rate
        return start - now
