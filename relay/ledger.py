"""What is in flight, and how far it is safe to advance: a low-water mark. Pure.

Events enter in the order in which the source hands them over, and settle in any order. A boundary says that
everything up to a position has been handed over. The ledger's position is the highest boundary below which every
event is settled:

    e1 e2 | B1 | e3 | B2 | e4 ...     settled: e1, e2, e4    position: B1
    e1 e2 | B1 | e3 | B2 | e4 ...     settled: all           position: B2 (e4's own boundary is still to come)

It is not the highest confirmed position: that would step over e3, and a restart would lose it.
"""

from collections import deque

from relay.position import Lsn


class Ticket:
    """A stretch of events between two boundaries; every event in it is settled with the same ticket."""

    __slots__ = ("boundary", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self.boundary: Lsn | None = None


class Ledger:
    """Counts what is in flight between boundaries; constant time and memory for each event."""

    def __init__(self) -> None:
        self.position: Lsn | None = None
        self._stretches = deque([Ticket()])

    def enter(self) -> Ticket:
        """Note an event in flight; settle it with the ticket returned, exactly once."""
        ticket = self._stretches[-1]
        ticket.in_flight += 1
        return ticket

    def boundary(self, position: Lsn) -> None:
        """Note that everything up to `position` has entered; raises ValueError if that would go back."""
        stretch = self._stretches[-1]
        last = self._stretches[-2].boundary if len(self._stretches) > 1 else self.position
        if last is not None and position < last:
            raise ValueError(f"boundary {position} is below the one before it, {last}")
        stretch.boundary = position
        self._stretches.append(Ticket())
        self._advance()

    def settle(self, ticket: Ticket) -> None:
        """Note that one event of `ticket` is confirmed; raises ValueError if none of it is in flight."""
        if ticket.in_flight == 0:
            raise ValueError("an event was settled that is not in flight")
        ticket.in_flight -= 1
        if ticket.in_flight == 0:
            self._advance()

    def _advance(self) -> None:
        head = self._stretches[0]
        while head.boundary is not None and head.in_flight == 0:
            self.position = head.boundary
            self._stretches.popleft()
            head = self._stretches[0]
