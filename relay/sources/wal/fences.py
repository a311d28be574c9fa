"""Fences: marks that the relay writes into the WAL and waits for in its stream. Pure.

A fence that comes back shows that the stream lives, keeps an idle slot moving, and says how far behind the stream is:
when everything before it is confirmed, everything that was committed before it was written is confirmed.
"""

from collections import deque

from relay.core.event import Fence
from relay.core.position import Lsn

# An unread stream piles fences up; what matters of them is the oldest and the newest.
_AT_MOST = 1000


class Fences:
    """The fences of one stream; `nonce` tells them from those of other relays and earlier streams."""

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce
        self._number = 0
        self._written: dict[str, float] = {}
        self._returned: float | None = None
        self._unconfirmed: deque[tuple[Lsn, float]] = deque(maxlen=_AT_MOST)

    def write(self, now: float) -> str:
        """Return the token of a new fence, written at `now`."""
        self._number += 1
        token = f"{self._nonce}:{self._number}"
        if len(self._written) < _AT_MOST:
            self._written[token] = now
        return token

    def read(self, fence: Fence, now: float) -> float | None:
        """Return how many seconds `fence` took to come back; None for somebody else's."""
        written = self._written.pop(fence.token.partition(" ")[0], None)
        if written is None:
            return None
        self._returned = written
        return now - written

    @property
    def returned(self) -> bool:
        """Whether a fence has come back whose transaction has not ended."""
        return self._returned is not None

    def boundary(self, position: Lsn) -> None:
        """Note the end of a transaction: a fence's, if one has just come back."""
        if self._returned is not None:
            self._unconfirmed.append((position, self._returned))
            self._returned = None

    def confirmed(self, position: Lsn) -> float | None:
        """Return when the last fence at or before `position` was written: everything older is confirmed."""
        written = None
        while self._unconfirmed and self._unconfirmed[0][0] <= position:
            _, written = self._unconfirmed.popleft()
        return written

    def oldest(self) -> float | None:
        """Return when the oldest fence that has not come back was written."""
        return next(iter(self._written.values()), None)
