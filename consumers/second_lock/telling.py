"""What an operator is told of the second lock: a count for each task, and a line for each incident."""

import asyncio
from collections.abc import Callable
from typing import Literal

import structlog

Outcome = Literal["held", "busy", "without", "lost"]

log = structlog.get_logger()

_SECONDS = 1.0


class Telling:
    """Logs under `name`, the lock's setting, and counts through `count`; made and used in the loop's own thread."""

    def __init__(self, name: str, count: Callable[[Outcome], None]) -> None:
        self._name = name
        self._count = count
        self._loop = asyncio.get_running_loop()
        self._without = 0
        self._lost = 0

    def asked(self, outcome: Outcome) -> None:
        """Count what became of one task's lock."""
        self._count(outcome)
        if outcome == "without":
            self._without += 1

    def away(self, reason: str) -> None:
        """Tell that the server is not asked any more."""
        log.warning(
            "second lock not available",
            lock=self._name,
            reason=reason,
            remedy="handlers run without it until it is back; the version check keeps each task applied once",
        )

    def back(self) -> None:
        """Tell that it is asked again."""
        log.info("second lock available again", lock=self._name, tasks_without=self._without)
        self._without = 0

    def lost(self) -> None:
        """Count a lock that ended while its handler ran; one line tells of all that are lost within a second."""
        self._count("lost")
        self._lost += 1
        if self._lost == 1:
            self._loop.call_later(_SECONDS, self.flush)

    def flush(self) -> None:
        """Tell of lost locks now."""
        if self._lost:
            log.warning(
                "second lock lost while handlers ran",
                lock=self._name,
                tasks=self._lost,
                remedy="find out what ended it: docs/second-lock.md lists what can; each task is applied once all the "
                "same",
            )
        self._lost = 0
