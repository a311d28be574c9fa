"""When RabbitMQ confirmed messages, read on the wire between the relays and all nodes."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable

from sandbox.machine.waiting import until
from tests.support.wire.amqp import Session
from tests.support.wire.confirms import Confirms


class ConfirmClock:
    """A watch for proxies, which call it in several threads; `now` is in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._sessions: defaultdict[int, Session] = defaultdict(Session)
        self._confirms: defaultdict[int, Confirms] = defaultdict(Confirms)
        self._count = 0
        self._last = now()
        self._longest = 0.0

    def __call__(self, connection: int, to_server: bool, data: bytes) -> None:  # noqa: FBT001 - the proxy's Watch
        with self._lock:
            facts = self._sessions[connection].feed(data, to_server=to_server)
            confirmed = sum(len(self._confirms[connection].read(fact)) for fact in facts)
            if confirmed:
                self._count += confirmed
                now = self._now()
                self._longest = max(self._longest, now - self._last)
                self._last = now

    def begin(self) -> None:
        """Forget the times so far; messages are being published now, and go on being published."""
        with self._lock:
            self._last, self._longest = self._now(), 0.0

    @property
    def count(self) -> int:
        """How many messages were confirmed so far, each confirm of a message counted."""
        with self._lock:
            return self._count

    @property
    def longest(self) -> float:
        """How long nothing was confirmed, at the longest, since `begin`."""
        with self._lock:
            return max(self._longest, self._now() - self._last)

    def grows(self, by: int, *, seconds: float) -> None:
        """Wait until `by` more messages are confirmed."""
        enough = self.count + by
        until(lambda: self.count >= enough, what=f"{by} more messages are confirmed", seconds=seconds, every=0.01)
