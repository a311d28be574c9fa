"""What a stream of the WAL leaves out that is read for a replay: everything outside its range. Pure.

A transaction is in the range if its commit record begins in it: at `after` or later, and before `until`. Positions that
Postgres or the relay give are the end of a record, so that is the same as ending behind `after`, and at `until` at the
latest. Postgres leaves out by that rule what comes before a start.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from relay.core.event import Boundary, OutboxEvent
from relay.core.position import Lsn
from relay.core.replay import WalRange
from relay.core.transactions import Transactions
from relay.sources.wal.published import Published
from relay.storage.state import State


class Within(Published):
    """Lets a stream pass over what is not committed in [after, until); it notes where each other event was."""

    def __init__(self, after: Lsn, until: Lsn) -> None:
        super().__init__(State("wal", None, None, Transactions()))
        self._after = after
        self._until = until
        self.commits: deque[Lsn] = deque()
        """Where the commit record of each event begins that was not passed over, in order."""

    @property
    def filtering(self) -> bool:
        """Whether anything may be passed over."""
        return True

    def polled(self, transaction: int | None, commits_at: Lsn) -> bool:
        """Return whether a transaction whose commit record begins at `commits_at` is outside the range."""
        del transaction
        if not self._after <= commits_at < self._until:
            return True
        self.commits.append(commits_at)
        return False

    def ended(self, transaction: int, position: Lsn) -> None:
        """Note nothing: no poll goes on from here."""


@dataclass(frozen=True, slots=True)
class Located:
    """An event of a range, and where its transaction's commit record begins."""

    event: OutboxEvent
    commits_at: Lsn


class Cut:
    """Cuts what a stream gives to the range: from its first event, if it has one, up to its last one, and its end."""

    def __init__(self, within: Within, wanted: WalRange, *, start: Lsn) -> None:
        self._commits = within.commits
        self._until = wanted.until
        # The first event is in the first transaction of its range: who goes on behind that one has passed it.
        self._waits_for = wanted.first_event if start == wanted.after else None
        self._last = wanted.last_event
        self._last_seen = False
        self.first_missing = self._waits_for is not None
        """Whether the range begins with an event that has not come."""
        self.ended = False
        """Whether the end of the range was reached."""

    def cut(self, items: Sequence[OutboxEvent | Boundary[Lsn]]) -> list[Located | Boundary[Lsn]]:
        """Return what belongs to the range; the boundary at its end is the last one."""
        found: list[Located | Boundary[Lsn]] = []
        for item in items:
            if isinstance(item, OutboxEvent):
                located = Located(item, self._commits.popleft())
                if self._takes(item):
                    found.append(located)
            else:
                self.ended = item.position >= self._until
                found.append(Boundary(min(item.position, self._until), item.committed_at))
                if self.ended:
                    break
        return found

    def _takes(self, event: OutboxEvent) -> bool:
        if self._waits_for is not None:
            if event.id != self._waits_for:
                return False
            self._waits_for, self.first_missing = None, False
        takes = not self._last_seen
        self._last_seen = self._last_seen or event.id == self._last
        return takes
