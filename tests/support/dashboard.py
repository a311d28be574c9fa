"""Grafana's dashboard as its file has it, and the Prometheus that its queries are put to."""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.support.commands import ROOT

FILE = ROOT / "docker" / "grafana" / "dashboards" / "outbox-relay.json"
# Grafana replaces this by at least four times the scrape interval.
_INTERVAL, _REPLACED_BY = "$__rate_interval", "1m"


@dataclass(frozen=True)
class Query:
    """One query of a panel, as it is put to Prometheus."""

    panel: str
    expression: str


def queries() -> list[Query]:
    """Return the queries of all panels, in the order of the dashboard."""
    panels = json.loads(FILE.read_text(encoding="utf-8"))["panels"]
    return [
        Query(panel["title"], target["expr"].replace(_INTERVAL, _REPLACED_BY))
        for panel in panels
        for target in panel.get("targets", [])
    ]


class Prometheus:
    """A Prometheus that runs at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def values(self, expression: str) -> list[tuple[dict[str, str], str]]:
        """Return the labels and the value of each series that `expression` has now."""
        return [(one["metric"], one["value"][1]) for one in self._ask(f"query?query={quote(expression)}")["result"]]

    def firing(self) -> list[str]:
        """Return the names of the alerts that fire."""
        alerts = self._ask("alerts")["alerts"]
        return [alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"]

    def answers(self) -> bool:
        """Return whether it is ready."""
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5) as answer:  # noqa: S310 - http, on loopback
                return bool(answer.status == 200)
        except OSError:
            return False

    def _ask(self, path: str) -> Any:  # noqa: ANN401 - JSON
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}", timeout=10) as answer:  # noqa: S310 - the same
            return json.load(answer)["data"]
