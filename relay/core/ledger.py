"""What is in flight, and how far it is safe to advance: a low-water mark. Pure.

Events enter in the order in which the source hands them over, and settle in any order. A boundary says that
everything up to a position has been handed over. The ledger's position is the highest boundary below which every
event is settled:

    e1 e2 | B1 | e3 | B2 | e4 ...     settled: e1, e2, e4    position: B1
    e1 e2 | B1 | e3 | B2 | e4 ...     settled: all           position: B2 (e4's own boundary is still to come)

It is not the highest confirmed position: that would step over e3, and a restart would lose it.
"""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from relay.core.event import Boundary
from relay.core.position import Lsn


class Stretch(Struct, eq=False, gc=False):
    """A stretch of events between two boundaries; every event in it is settled with the same stretch."""

    in_flight: int = 0
    events: int = 0
    boundary: Boundary | None = None
    received_at: float = 0.0


class Ledger:
    """Counts what is in flight between boundaries; constant time and memory for each event."""

    def __init__(self) -> None:
        self.position: Lsn | None = None
        self._stretches = deque([Stretch()])
        self._last: Lsn | None = None

    @property
    def handed_over(self) -> Lsn | None:
        """The last boundary: what has entered since then comes again when a stream opens after it."""
        return self._last

    def enter(self) -> Stretch:
        """Note an event in flight; settle it with the stretch returned, exactly once."""
        stretch = self._stretches[-1]
        stretch.in_flight += 1
        stretch.events += 1
        return stretch

    def boundary(self, boundary: Boundary, *, received_at: float = 0.0) -> list[Stretch]:
        """Note that everything up to `boundary` has entered; raises ValueError if that would go back.

        Returns the stretches that are wholly settled by it.
        """
        if self._last is not None and boundary.position < self._last:
            raise ValueError(f"boundary {boundary.position} is below the one before it, {self._last}")
        self._last = boundary.position
        stretch = self._stretches[-1]
        stretch.boundary, stretch.received_at = boundary, received_at
        self._stretches.append(Stretch())
        return [] if stretch.in_flight else self._advance()

    def settle(self, stretches: Iterable[Stretch]) -> list[Stretch]:
        """Note that an event of each of `stretches` is settled; raises ValueError if none of it is in flight.

        Returns the stretches that are wholly settled by it.
        """
        for stretch in stretches:
            if stretch.in_flight == 0:
                raise ValueError("an event was settled that is not in flight")
            stretch.in_flight -= 1
        return self._advance()

    def _advance(self) -> list[Stretch]:
        settled = []
        head = self._stretches[0]
        while head.boundary is not None and head.in_flight == 0:
            self.position = head.boundary.position
            settled.append(self._stretches.popleft())
            head = self._stretches[0]
        return settled
