"""The metrics of a consumer. Their names do not change; a task's type is a label only if it has a handler."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Literal, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from consumers.watching.histogram import Histogram

UNKNOWN = "unknown"

# Handlers take less than a millisecond, or many minutes.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_CONFLICTS = frozenset({"duplicate", "stale", "cancelled", "lost"})


class Threads(Protocol):
    """What the metrics read of the handlers' threads."""

    @property
    def active(self) -> int: ...  # noqa: D102 - as it says
    @property
    def idle(self) -> int: ...  # noqa: D102 - as it says


class Metrics:
    """The consumers' metrics, in a registry of their own."""

    def __init__(self, types: AbstractSet[str]) -> None:
        self._types = types
        self.registry = CollectorRegistry()
        self._children: dict[tuple[Counter, tuple[str, ...]], Counter] = {}
        self._tasks = Counter(
            "consumers_tasks",
            "Deliveries by outcome: completed, failed (to be tried again), dead, released, lost, duplicate, stale, "
            "cancelled, unknown, undecodable.",
            ["type", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "consumers_task_seconds",
            "How long handlers ran, by how the claim ended.",
            ["type", "outcome"],
            buckets=_BUCKETS,
        )
        self._waited = Histogram(
            "consumers_queue_wait_seconds",
            "From a task's becoming pending to its claim, by the database's clock.",
            ["type"],
            buckets=_BUCKETS,
        )
        for histogram in (self._seconds, self._waited):
            self.registry.register(histogram)
        self._retries = Counter(
            "consumers_retries", "Failed attempts after which a task is tried again.", ["type"], registry=self.registry
        )
        self._conflicts = Counter(
            "consumers_conflicts",
            "Changes that found another version of the task than they were about.",
            registry=self.registry,
        )
        self._running = Gauge("consumers_running_tasks", "Handlers running now.", registry=self.registry)
        self._threads = Gauge(
            "consumers_executor_threads", "Threads of handlers: active or idle.", ["state"], registry=self.registry
        )
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
            ["name", "outcome"],
            registry=self.registry,
        )

        self._second_locks = Counter(
            "consumers_second_locks",
            "Second locks by outcome: held, busy (another handler has it), without (the server is away, the handler "
            "ran all the same), lost (while its handler ran).",
            ["outcome"],
            registry=self.registry,
        )

    def watch(self, running: Callable[[], int], threads: Threads) -> None:
        """Read the number of `running` handlers, and of their `threads`, whenever the metrics are asked for."""
        self._running.set_function(running)
        self._threads.labels("active").set_function(lambda: threads.active)
        self._threads.labels("idle").set_function(lambda: threads.idle)

    def count(self, outcome: str, type_: str | None) -> None:
        """Count one delivery."""
        label = self._label(type_)
        self._child(self._tasks, label, outcome).inc()
        if outcome in _CONFLICTS:
            self._conflicts.inc()
        if outcome == "lost":
            self.lease_lost.inc()
        if outcome == "failed":
            self._child(self._retries, label).inc()

    def claimed(self, type_: str, waited: float) -> None:
        """Record for how many seconds a task was pending before its claim."""
        self._waited.observe((self._label(type_),), waited)

    def ran(self, type_: str, outcome: str, seconds: float) -> None:
        """Record how long one handler took, and how its claim ended."""
        self._seconds.observe((self._label(type_), outcome), seconds)

    def second_lock(self, outcome: Literal["held", "busy", "without", "lost"]) -> None:
        """Count what became of a second lock."""
        self._second_locks.labels(outcome).inc()

    def job(self, name: str, outcome: Literal["ran", "skipped", "failed"]) -> None:
        """Count one time that a scheduled job was due."""
        self._jobs.labels(name, outcome).inc()

    def _child(self, metric: Counter, *labels: str) -> Counter:
        """Return what counts for `labels`, which costs several times as much to find as to count."""
        child = self._children.get((metric, labels))
        if child is None:
            child = self._children[metric, labels] = metric.labels(*labels)
        return child

    def _label(self, type_: str | None) -> str:
        """Return a label; unknown types share one, since anybody who submits tasks can choose a type."""
        return type_ if type_ is not None and type_ in self._types else UNKNOWN
