"""Exponential delays with jitter between attempts. Pure: it neither sleeps nor reads a clock."""

from random import Random


class Backoff:
    """Delays in seconds that double from `base` to `cap`, each drawn from the upper half of its step.

    There is jitter at the cap, too, so that processes that lost the same server do not return all at once.
    """

    def __init__(self, *, base: float = 0.1, cap: float = 10.0, random: Random | None = None) -> None:
        self._base = base
        self._cap = cap
        self._random = random or Random()  # noqa: S311 - no secret
        self._failures = 0

    def next_delay(self) -> float:
        """Count one more failure and return the delay before the next attempt."""
        step = min(self._cap, self._base * 2.0 ** min(self._failures, 60))
        self._failures += 1
        return self._random.uniform(step / 2, step)

    def reset(self) -> None:
        """Start again from `base`: an attempt has succeeded."""
        self._failures = 0
