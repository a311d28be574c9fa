"""docker/prometheus/: each alert has a page in docs/, each page an alert; rules and dashboard have known metrics."""

import re
from typing import Any

import pytest
import yaml

from tests.support.commands import ROOT
from tests.support.dashboard import queries
from tests.unit.docs.markdown import anchors, quoted, rows, section

FOLDER = ROOT / "docker" / "prometheus"
PAGES = {"outbox-relay": ROOT / "docs" / "operations.md", "outbox-consumers": ROOT / "docs" / "tasks.md"}
"""The page of each group."""
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
GROUPS: dict[str, list[dict[str, Any]]] = {
    group["name"]: group["rules"]
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
}
RULES = [rule for rules in GROUPS.values() for rule in rules]
_PARTS = ("bucket", "count", "sum")
_METRIC = re.compile(r"\b(?:(?:relay|consumers)_\w+|up(?=\{))")
TESTS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]


groups = pytest.mark.parametrize("group", GROUPS)


def _known() -> set[str]:
    """Return the names of all series that relay and consumers have, and Prometheus' own."""
    tables = [section(REFERENCE, heading) for heading in ("### Of the relay", "### Of the consumers")]
    kinds = {quoted(name)[0]: kind for table in tables for name, kind, *_ in rows(table)}
    of_histograms = {f"{name}_{part}" for name, kind in kinds.items() if kind == "histogram" for part in _PARTS}
    return {name for name, kind in kinds.items() if kind != "histogram"} | of_histograms | {"up"}


@groups
def test_every_alert_has_the_name_of_a_page_and_every_page_an_alert(group: str) -> None:
    alerts = section(PAGES[group].read_text(encoding="utf-8"), "## Alerts")
    assert sorted(rule["alert"] for rule in GROUPS[group]) == sorted(re.findall(r"^### (.+)$", alerts, re.MULTILINE))


@groups
def test_the_runbook_of_an_alert_is_its_page(group: str) -> None:
    for rule in GROUPS[group]:
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert ROOT / path == PAGES[group]
        assert anchor == re.sub(r"[^\w\- ]", "", rule["alert"].lower()).replace(" ", "-")
        assert anchor in anchors(PAGES[group])
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"warning", "critical"}


@pytest.mark.parametrize("expression", [rule["expr"] for rule in RULES] + [query.expression for query in queries()])
def test_every_metric_of_a_rule_or_a_panel_is_one_of_ours(expression: str) -> None:
    used = set(_METRIC.findall(expression))
    assert used
    assert used <= _known()


def test_every_alert_is_tested_when_it_fires_and_when_it_does_not() -> None:
    checks = [check for test in TESTS for check in test["alert_rule_test"]]
    fires = {check["alertname"] for check in checks if check["exp_alerts"]}
    stays = {check["alertname"] for check in checks if not check["exp_alerts"]}
    assert fires == stays == {rule["alert"] for rule in RULES}
