"""Spreads events evenly over time: so many a second, in bursts of a twentieth of a second at most. Pure."""

_BURST = 0.05
"""Seconds. What was missed beyond that is not made up for."""


class Pace:
    """Says how long to wait before the next events may be published."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.slice = max(1, int(rate * _BURST / 2))
        """How many events are published at a time."""
        self._next: float | None = None
        """When the next event is due."""

    def take(self, events: int, now: float) -> float:
        """Return how many seconds after `now` the next `events` may be published."""
        due = now if self._next is None else max(self._next, now - _BURST / 2)
        self._next = due + events / self._rate
        return max(0.0, due - now)
