"""Work beside the stream that is tried again and again: says when it fails, and when it has succeeded again. Pure."""

from outboxkit.errors import Problem
from relay.core.observations import NotStored, Observe, Stored


class Attempts:
    """The incidents of one kind of work, `what`. Its first success counts as an end: an earlier one may be open."""

    def __init__(self, what: str, observe: Observe) -> None:
        self._what = what
        self._observe = observe
        self._open = True

    def failed(self, problem: Problem) -> None:
        """Report that an attempt has failed."""
        self._open = True
        self._observe(NotStored(self._what, problem))

    def succeeded(self) -> None:
        """Report, once, that the work is done again."""
        if self._open:
            self._open = False
            self._observe(Stored(self._what))
