"""The metrics of a consumer. Their names do not change; a task's type is a label only if it has a handler."""

from collections.abc import Set as AbstractSet
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

UNKNOWN = "unknown"

# Handlers take less than a millisecond, or many minutes.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """The consumers' metrics, in a registry of their own."""

    def __init__(self, types: AbstractSet[str]) -> None:
        self._types = types
        self.registry = CollectorRegistry()
        self._tasks = Counter(
            "consumers_tasks",
            "Deliveries by outcome: completed, failed, released, lost, duplicate, stale, cancelled, unknown, "
            "undecodable.",
            ["type", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "consumers_task_seconds", "How long handlers ran.", ["type"], buckets=_BUCKETS, registry=self.registry
        )
        self.running = Gauge("consumers_running_tasks", "Handlers running now.", registry=self.registry)
        self.lease_lost = Counter(
            "consumers_lease_lost",
            "Claims that the consumer had lost when their handler ended.",
            registry=self.registry,
        )

        self.locks_held = Gauge(
            "consumers_locks_held", "Locks of scheduled jobs that this consumer holds now.", registry=self.registry
        )
        self.reannounced = Counter(
            "consumers_reannounced",
            "Pending tasks that were announced again: their message was lost, or the relay has parked it.",
            ["reason"],
            registry=self.registry,
        )
        self._jobs = Counter(
            "consumers_jobs",
            "Scheduled jobs by outcome: ran, skipped (another consumer had the lock), failed.",
            ["job", "outcome"],
            registry=self.registry,
        )

    def count(self, outcome: str, type_: str | None) -> None:
        """Count one delivery."""
        self._tasks.labels(self._label(type_), outcome).inc()
        if outcome == "lost":
            self.lease_lost.inc()

    def job(self, name: str, outcome: Literal["ran", "skipped", "failed"]) -> None:
        """Count one time that a scheduled job was due."""
        self._jobs.labels(name, outcome).inc()

    def ran(self, type_: str, seconds: float) -> None:
        """Record how long one handler took."""
        self._seconds.labels(self._label(type_)).observe(seconds)

    def _label(self, type_: str | None) -> str:
        """Return a label; unknown types share one, since anybody who submits tasks can choose a type."""
        return type_ if type_ is not None and type_ in self._types else UNKNOWN
