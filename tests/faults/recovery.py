"""How long a relay takes to recover: from healing until everything committed by then is confirmed.

It looks by itself, so that what a fault does after healing does not count.
"""

import threading
import time

import psycopg

from tests.support.stage import Stage

_END = "SELECT pg_current_wal_lsn()::text"
_PASSED = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND confirmed_flush_lsn >= %s::pg_lsn"
_LOOK_EVERY = 0.05


class Recovery:
    """Begins with its making, when Postgres is there; `close` ends the looking."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._began = time.monotonic()
        self._end = stage.value(_END)
        self._seconds: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="recovery")
        self._thread.start()

    def seconds(self, *, within: float) -> float | None:
        """Wait for it, until `within` seconds have passed since its beginning; None if it did not come."""
        self._thread.join(max(self._began + within - time.monotonic(), 0))
        return self._seconds

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            try:
                passed = self._stage.query(_PASSED, self._stage.isolated.name, self._end)
            except psycopg.OperationalError:
                continue  # Postgres is away again
            if passed:
                self._seconds = time.monotonic() - self._began
                return
