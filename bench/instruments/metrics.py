"""A process' own metrics, over HTTP: those of the relay (the ceiling uses the same names), and those of a consumer."""

import http.client
from contextlib import suppress

from prometheus_client.parser import text_string_to_metric_families

PUBLISHED = "relay_events_published"
LATENCY = "relay_commit_to_confirm_seconds"
TASKS = "consumers_tasks"
_SECONDS = 10.0


class Endpoint:
    """The HTTP endpoint of one process, at `host:port`; it keeps its connection."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=_SECONDS)

    def get(self, path: str) -> tuple[int, str] | None:
        """Return the status and the text at `path`; None if there is no answer."""
        with suppress(OSError, http.client.HTTPException):
            self._connection.request("GET", path)
            answer = self._connection.getresponse()
            return answer.status, answer.read().decode()
        self.close()
        return None

    def ready(self) -> bool:
        """Return whether the process reports that it is ready."""
        return (self.get("/readyz") or (0, ""))[0] == http.HTTPStatus.OK

    def metrics(self) -> str:
        """Return the metrics in the Prometheus text format; empty if there is no answer."""
        answer = self.get("/metrics")
        return answer[1] if answer else ""

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        self._connection.close()

    def confirmed(self) -> int:
        """Return how many events are confirmed so far."""
        return confirmed(self.metrics())

    def completed(self) -> int:
        """Return how many tasks this consumer has completed so far."""
        return completed(self.metrics())


def confirmed(text: str) -> int:
    """Read from metrics how many events are confirmed. Pure."""
    return _counted(text, PUBLISHED, "confirmed")


def completed(text: str) -> int:
    """Read from metrics how many tasks are completed, of all types. Pure."""
    return _counted(text, TASKS, "completed")


def _counted(text: str, name: str, outcome: str) -> int:
    return int(
        sum(
            sample.value
            for family in text_string_to_metric_families(text)
            if family.name == name
            for sample in family.samples
            if sample.name.endswith("_total") and sample.labels.get("outcome") == outcome
        )
    )


def latency(text: str, stage: str = "total") -> dict[float, float]:
    """Read from metrics the histogram of a stage: cumulative counts by upper bound in seconds. Pure."""
    return {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(text)
        if family.name == LATENCY
        for sample in family.samples
        if sample.name.endswith("_bucket") and sample.labels.get("stage") == stage
    }
