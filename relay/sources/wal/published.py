"""What a stream has published, in terms of the table: so that a poll can go on where the stream ends. Pure.

A fence's snapshot S sees nothing that lies behind the fence. The reverse does not hold: a transaction is in the WAL
before it is visible, so S may not see some that were streamed before the fence. Those, and all that is streamed
behind it, are kept by name until a later snapshot sees them. A poll of what S does not see passes over them.
"""

from collections import deque

from relay.core.position import Lsn, Snapshot
from relay.core.transactions import Transactions
from relay.storage.state import State

AT_MOST = 50_000
"""How many ranges of transactions are kept. A fence comes each second, but a backlog has none; a poll would publish
again what is not kept."""


class Published:
    """What was published up to a position that advances; it begins with what was stored."""

    def __init__(self, state: State) -> None:
        self._snapshot = state.snapshot
        self._streamed = Transactions(state.streamed.ranges())
        self._filter = state.filter
        self._ended: deque[tuple[Lsn, int]] = deque()
        """Transactions that were handed over, and where each ends."""

    @property
    def filtering(self) -> bool:
        """Whether the stream has not passed the end of what was polled."""
        return self._filter is not None

    def polled(self, transaction: int | None, commits_at: Lsn) -> bool:
        """Return whether `transaction`, whose commit record begins at `commits_at`, was polled or streamed before."""
        polled = self._filter
        return (
            polled is not None
            and transaction is not None
            and commits_at < polled.end
            and (polled.snapshot.sees(transaction) or transaction in self._streamed)
        )

    def counts(self, commits_at: Lsn) -> bool:
        """Return whether a fence counts: one from before a poll says less than the poll."""
        return self._filter is None or commits_at >= self._filter.end

    def ended(self, transaction: int, position: Lsn) -> None:
        """Note that all events of `transaction`, which ends at `position`, have been handed over."""
        self._ended.append((position, transaction))

    def confirmed(self, position: Lsn, fence: Snapshot | None) -> None:
        """Note that all up to `position` is confirmed, and with it the fence with this snapshot."""
        ended, streamed = self._ended, self._streamed
        while ended and ended[0][0] <= position:
            _, transaction = ended.popleft()
            if len(streamed) < AT_MOST:
                streamed.add(transaction)
        if fence is not None:
            self._snapshot, self._streamed = fence, streamed.unseen(fence)
        if self._filter is not None and position >= self._filter.end:
            self._filter = None

    def state(self, position: Lsn) -> State:
        """Return what is published up to `position`, the last that was confirmed."""
        return State("wal", position, self._snapshot, Transactions(self._streamed.ranges()), filter=self._filter)
