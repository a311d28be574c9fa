"""The metrics of event handlers. A handler's name is a label: there are as many as an application declares."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

NONE = "none"
"""The label of events that no handler took."""
Outcome = Literal["applied", "duplicate", "stale", "gap", "failed", "parked", "unhandled", "undecodable"]
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class EventMetrics:
    """The metrics of event handlers, in the consumer's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter(
            "consumers_events",
            "Events by outcome: applied, duplicate, stale, parked, unhandled, undecodable; and gap and failed, after "
            "which they are tried again.",
            ["handler", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "consumers_event_seconds",
            "How long attempts to apply an event took, with their transaction.",
            ["handler"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.waiting = Gauge(
            "consumers_events_waiting", "Events that are here and not settled, for all handlers.", registry=registry
        )

    def count(self, outcome: Outcome, handler: str = NONE) -> None:
        """Count one event for one handler."""
        self._events.labels(handler, outcome).inc()

    def took(self, handler: str, seconds: float) -> None:
        """Record how long one attempt took."""
        self._seconds.labels(handler).observe(seconds)
