"""How long a relay takes to recover: from healing until everything committed by then is confirmed.

It is measured in a thread, so that what a fault does after healing does not count.
"""

import threading
import time

import psycopg

from tests.support.stage import Stage

_END = "SELECT pg_current_wal_lsn()::text"
# A new slot begins behind what was polled before it; so the relay must have gone back to the WAL as well.
_PASSED = (
    "SELECT 1 FROM pg_replication_slots AS s JOIN relay.checkpoint AS c ON c.slot = s.slot_name "
    "WHERE s.slot_name = %s AND s.confirmed_flush_lsn >= %s::pg_lsn AND c.mode = 'wal'"
)
_LOOK_EVERY = 0.05


class Recovery:
    """Begins when it is made, with Postgres running; `close` ends the measuring."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._began = time.monotonic()
        self._end = stage.value(_END)
        self._seconds: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._measure, name="recovery")
        self._thread.start()

    def seconds(self, *, within: float) -> float | None:
        """Wait until it is complete, at most `within` seconds from its beginning; None if it is not complete then."""
        self._thread.join(max(self._began + within - time.monotonic(), 0))
        return self._seconds

    def close(self) -> None:
        """Stop measuring."""
        self._over.set()
        self._thread.join()

    def _measure(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            try:
                passed = self._stage.query(_PASSED, self._stage.isolated.name, self._end)
            except psycopg.OperationalError:
                continue  # Postgres is away again
            if passed:
                self._seconds = time.monotonic() - self._began
                return
