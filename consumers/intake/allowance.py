"""How many deliveries are asked for beside those of the pace, since as many wait for locked rows. Pure.

A delivery that waits for a locked row stays unacknowledged and needs no handler. If it counted as one that does, as
many of them as there are handlers would stop the consumer.
"""

_KEPT_SECONDS = 1.0
"""For how long fewer must wait before fewer are asked for: rows may be locked again and again, each for a moment."""


class Allowance:
    """The number, 0 at first. A change has to be worth its cost, which is a new subscription."""

    def __init__(self) -> None:
        self._more = 0
        self._used_at = 0.0
        """When all of them were used last."""

    def adjust(self, waiting: int, *, prefetch: int, now: float) -> int:
        """Return how many more than `prefetch` to ask for, while `waiting` deliveries wait for locked rows.

        They are raised when more than a quarter of `prefetch` is lost to those that wait, and lowered when as many are
        not used any more.
        """
        if waiting >= self._more:
            self._used_at = now
            if 4 * (waiting - self._more) > prefetch:
                self._more = waiting
        elif now - self._used_at >= _KEPT_SECONDS and (not waiting or 4 * (self._more - waiting) > prefetch):
            self._more, self._used_at = waiting, now
        return self._more
