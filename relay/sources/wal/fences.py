"""Fences: messages that the relay writes into the WAL and waits for in its stream. Pure.

A fence that comes back shows that the stream is alive, keeps an idle slot moving, and measures the lag: when
everything before it is confirmed, everything that was committed before it was written is confirmed. It also carries
the snapshot of its own transaction. A transaction's commit record is written before the transaction becomes visible, so
all that the snapshot sees lies before the fence in the WAL: then everything that the snapshot sees is published.
"""

from collections import deque
from typing import NamedTuple

from relay.core.event import Fence
from relay.core.position import Lsn, Snapshot

# Fences pile up in front of a stream that is not read; only the oldest and the newest matter.
_AT_MOST = 1000


class ReturnedFence(NamedTuple):
    """A fence that has come back."""

    written: float
    """When it was written, on the loop's clock."""
    snapshot: Snapshot


class Fences:
    """The fences of one stream; `nonce` is not that of any other relay or earlier stream."""

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce
        self._number = 0
        self._written: dict[str, float] = {}
        self._returned: ReturnedFence | None = None
        self._unconfirmed: deque[tuple[Lsn, ReturnedFence]] = deque(maxlen=_AT_MOST)

    def write(self, now: float) -> str:
        """Return the token of a new fence, written at `now`."""
        self._number += 1
        token = f"{self._nonce}:{self._number}"
        if len(self._written) < _AT_MOST:
            self._written[token] = now
        return token

    def unwritten(self, token: str) -> None:
        """Note that the fence of `token` was not written after all."""
        self._written.pop(token, None)

    def read(self, fence: Fence, now: float) -> float | None:
        """Return how many seconds `fence` took to come back; None for a fence that this stream did not write."""
        token, _, snapshot = fence.content.partition(" ")
        written = self._written.pop(token, None)
        if written is None:
            return None
        self._returned = ReturnedFence(written, Snapshot.parse(snapshot))
        return now - written

    def pass_over(self) -> None:
        """Note that the fence that has come back does not count."""
        self._returned = None

    @property
    def returned(self) -> bool:
        """Whether a fence has come back whose transaction has not ended."""
        return self._returned is not None

    def boundary(self, position: Lsn) -> None:
        """Note the end of a transaction: the fence's, if one has just come back."""
        if self._returned is not None:
            self._unconfirmed.append((position, self._returned))
            self._returned = None

    def confirmed(self, position: Lsn) -> ReturnedFence | None:
        """Return the last fence at or before `position`, if it was not returned before: all before it is confirmed."""
        last = None
        while self._unconfirmed and self._unconfirmed[0][0] <= position:
            _, last = self._unconfirmed.popleft()
        return last

    def oldest(self) -> float | None:
        """Return when the oldest fence that has not come back was written."""
        return next(iter(self._written.values()), None)
