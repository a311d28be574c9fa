"""Deliveries that wait because another transaction has locked their task's row; after a while the log tells of them."""

import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from outboxkit.amqp.consuming.deliveries import Delivery

log = structlog.get_logger()


def how_to_find(task_id: str) -> str:
    """Say how to find the transaction that has locked the row of a task; docs/operations.md has the whole page."""
    return (
        "find its session, and end its transaction: "  # noqa: S608 - for a person
        "SELECT pid FROM pg_locks WHERE locktype = 'transactionid' AND granted "
        f"AND transactionid = (SELECT xmax FROM tasks.task WHERE id = '{task_id}'); "
        "if that finds none, see docs/operations.md, Tasks wait for another transaction"
    )


class _Waiting(NamedTuple):
    delivery: Delivery
    task_id: str
    since: float


class LockedRows:
    """Each delivery waits to be claimed, or for the outcome of its claim to be written.

    Those that have waited for `told` seconds are logged, and again each `told` seconds.
    """

    def __init__(self, *, told: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._told = told
        self._clock = clock
        self._waiting: dict[tuple[int, int], _Waiting] = {}
        """By generation and tag; who waits for longest is first."""
        self._told_at = -told

    def add(self, delivery: Delivery, task_id: str) -> bool:
        """Note that the row is locked, and log those that have been for long; return whether it is new."""
        now = self._clock()
        key = (delivery.generation, delivery.tag)
        is_new = key not in self._waiting
        if is_new:
            self._waiting[key] = _Waiting(delivery, task_id, now)
        if now - self._told_at >= self._told:
            self._tell(now)
        return is_new

    def discard(self, delivery: Delivery) -> None:
        """Note that the row is not locked any more, or that nobody waits for it."""
        if self._waiting:
            self._waiting.pop((delivery.generation, delivery.tag), None)

    def waiting(self, *, at_least: float) -> list[Delivery]:
        """Return the deliveries that have waited for `at_least` seconds."""
        now = self._clock()
        return [each.delivery for each in self._waiting.values() if now - each.since >= at_least]

    def _tell(self, now: float) -> None:
        first = next(iter(self._waiting.values()))
        if now - first.since < self._told:
            return
        self._told_at = now
        log.warning(
            "tasks wait for another transaction",
            tasks=len({each.task_id for each in self._waiting.values() if now - each.since >= self._told}),
            first=first.task_id,
            seconds=round(now - first.since),
            remedy=f"a transaction that is open has changed or locked their rows: {how_to_find(first.task_id)}",
        )
