"""How many deliveries a consumer holds: about a second of work for its handlers, by what they took lately. Pure.

Deliveries that wait here help nobody: another consumer could run them, RabbitMQ's consumer_timeout counts, and a crash
counts as a delivery of each. With short tasks many are needed, so that one statement claims a whole batch.
"""

import math
from collections import deque

WORK_SECONDS = 1.0
"""For how long a delivery may wait for a handler."""
_REMEMBERED = 200


class Pace:
    """The number for `concurrency` handlers, at least `concurrency` and at most `cap`."""

    def __init__(self, *, concurrency: int, cap: int) -> None:
        self._concurrency = concurrency
        self.cap = cap
        self._took: deque[float] = deque(maxlen=_REMEMBERED)
        self.prefetch = concurrency
        """How many deliveries may be unacknowledged: for each handler one, until it is known how long they take."""

    def ran(self, seconds: float) -> None:
        """Take note that a handler took `seconds`."""
        self._took.append(seconds)

    def adjust(self, stalled: float = 0.0) -> bool:
        """Set `prefetch`, and return whether it has changed.

        `stalled` is for how many seconds deliveries have waited here and no handler has begun: what was remembered is
        no measure any more. Otherwise a change has to be worth its cost: half, double, or a limit.
        """
        if stalled > WORK_SECONDS:
            self._took.clear()
            self._took.append(stalled)
        if not self._took:
            return False
        mean = math.fsum(self._took) / len(self._took)
        wanted = self.cap
        if mean * self.cap > WORK_SECONDS * self._concurrency:
            wanted = max(self._concurrency, round(WORK_SECONDS * self._concurrency / mean))
        limits = (self._concurrency, self.cap)
        if wanted == self.prefetch or not (
            wanted in limits or wanted >= 2 * self.prefetch or 2 * wanted <= self.prefetch
        ):
            return False
        self.prefetch = wanted
        return True
