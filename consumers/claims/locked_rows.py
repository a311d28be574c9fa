"""Tasks whose rows other transactions hold: each is tried again, and after a while an operator hears of them."""

import time
from collections.abc import Callable

import structlog

from outboxkit.amqp.format import TaskReference

log = structlog.get_logger()


class LockedRows:
    """What waits for a row: a delivery by its own version, an outcome by its claim's.

    What has waited for `told` seconds is logged, and logged again after as many.
    """

    def __init__(self, *, told: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._told = told
        self._clock = clock
        self._since: dict[TaskReference, float] = {}
        self._told_at = -told

    def add(self, reference: TaskReference) -> None:
        """Note that the row of `reference` is locked, and log those that have been for long."""
        now = self._clock()
        self._since.setdefault(reference, now)
        if now - self._told_at < self._told:
            return
        late = [each for each, since in self._since.items() if now - since >= self._told]
        if not late:
            return
        self._told_at = now
        log.warning(
            "tasks wait for another transaction",
            tasks=len(late),
            first=late[0].task_id,
            seconds=round(now - self._since[late[0]]),
            remedy="a transaction has changed or locked their rows and is open: "
            "find it with SELECT pid, xact_start, query FROM pg_stat_activity ORDER BY xact_start, and end it",
        )

    def discard(self, reference: TaskReference) -> None:
        """Note that the row of `reference` is no longer locked."""
        self._since.pop(reference, None)
