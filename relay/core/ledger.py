"""What is in flight, and how far it is safe to advance: a low-water mark. Pure.

Events enter in the order in which the source hands them over, and settle in any order. A boundary says that
everything up to a position has been handed over. The ledger's position is that of the last boundary before which
every event is settled:

    e1 e2 | B1 | e3 | B2 | e4 ...     settled: e1, e2, e4    position: B1
    e1 e2 | B1 | e3 | B2 | e4 ...     settled: all           position: B2 (e4's own boundary is still to come)

It is not the position of the last confirmed event: that would step over e3, and a restart would lose it. The ledger
orders stretches by the sequence in which they came, and never compares two positions.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Generic

from msgspec import Struct

from relay.core.event import Boundary
from relay.core.position import P


class Stretch(Struct, eq=False, gc=False):
    """The events between two boundaries: counted, and settled one by one."""

    in_flight: int = 0
    events: int = 0
    passed_over: int = 0
    """How many more events were read, which other relays publish."""
    boundary: Boundary[Any] | None = None
    """The boundary at its end, once that has come."""
    received_at: float = 0.0


class Ledger(Generic[P]):
    """Counts what is in flight between boundaries; constant time and memory for each event."""

    def __init__(self) -> None:
        self.position: P | None = None
        self._stretches: deque[Stretch] = deque([Stretch()])

    def enter(self) -> Stretch:
        """Note an event in flight; returns the stretch that it belongs to, for `settle`."""
        stretch = self._stretches[-1]
        stretch.in_flight += 1
        stretch.events += 1
        return stretch

    @property
    def open(self) -> bool:
        """Whether events have entered whose boundary has not come."""
        return self._stretches[-1].events > 0

    def __len__(self) -> int:
        """Return how many stretches it keeps: those that are not settled, and those behind one that is not."""
        return len(self._stretches)

    def pass_over(self) -> None:
        """Note an event that another relay publishes: it only counts for the places of those behind it."""
        self._stretches[-1].passed_over += 1

    def boundary(self, boundary: Boundary[P], *, received_at: float = 0.0) -> list[Stretch]:
        """Note that everything up to `boundary` has entered; returns the stretches that are settled with it."""
        stretch = self._stretches[-1]
        stretch.boundary, stretch.received_at = boundary, received_at
        self._stretches.append(Stretch())
        return [] if stretch.in_flight else self._advance()

    def settle(self, stretches: Iterable[Stretch]) -> list[Stretch]:
        """Note that one event of each of `stretches` is settled; raises ValueError if none of it is in flight.

        Returns the stretches of which every event, and every event before them, is settled with it.
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
