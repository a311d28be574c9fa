"""What an instance counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily

from writers.service.postgres.database import Database

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """The metrics of one instance, in a registry of its own."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "writers_http_requests", "Requests by method, route and status.", ["method", "route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "writers_http_request_seconds", "Time to an answer.", ["method", "route"], buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.in_flight = Gauge("writers_http_in_flight", "Requests that wait for an answer.", registry=self.registry)
        self.submitted = Counter("writers_tasks_submitted", "Tasks that were written.", registry=self.registry)
        self.replayed = Counter(
            "writers_requests_replayed", "Requests that an Idempotency-Key had made before.", registry=self.registry
        )
        self.published = Counter("writers_events_published", "Events that were written.", registry=self.registry)
        self.registry.register(_Pool(database))


class _Pool:
    """The pool's sessions, read when they are asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> list[GaugeMetricFamily]:
        found = self._database.statistics()
        sessions = GaugeMetricFamily("writers_pool_sessions", "Sessions with the database by use.", labels=["state"])
        for state in ("busy", "free"):
            sessions.add_metric([state], found[state])
        waiting = GaugeMetricFamily("writers_pool_waiting", "Requests that wait for a session.", found["waiting"])
        up = GaugeMetricFamily("writers_database_up", "1 unless the database has failed lately.", self._database.up)
        return [sessions, waiting, up]
