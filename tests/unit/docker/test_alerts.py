"""docker/prometheus/: each alert has a page in docs/operations.md, each page an alert, and each rule known metrics."""

import re
from typing import Any

import yaml

from tests.support.commands import ROOT
from tests.unit.docs.markdown import anchors, quoted, rows, section

FOLDER = ROOT / "docker" / "prometheus"
OPERATIONS = ROOT / "docs" / "operations.md"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
TESTS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]


def _pages() -> list[str]:
    return re.findall(r"^### (.+)$", section(OPERATIONS.read_text(encoding="utf-8"), "## Alerts"), re.MULTILINE)


def test_every_alert_has_the_name_of_a_page_and_every_page_an_alert() -> None:
    names = [rule["alert"] for rule in RULES]
    assert sorted(names) == sorted(_pages())


def test_the_runbook_of_an_alert_is_its_page() -> None:
    for rule in RULES:
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert ROOT / path == OPERATIONS
        assert anchor == re.sub(r"[^\w\- ]", "", rule["alert"].lower()).replace(" ", "-")
        assert anchor in anchors(OPERATIONS)
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_every_metric_in_a_rule_is_a_metric_of_the_relay() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    known = {quoted(name)[0]: kind for name, kind, *_ in rows(section(reference, "### Of the relay"))}
    known |= {f"{name}_count": kind for name, kind in known.items() if kind == "histogram"}
    for rule in RULES:
        used = set(re.findall(r"\brelay_\w+", rule["expr"]))
        assert used
        assert used <= set(known)


def test_every_alert_is_tested_when_it_fires_and_when_it_does_not() -> None:
    checks = [check for test in TESTS for check in test["alert_rule_test"]]
    fires = {check["alertname"] for check in checks if check["exp_alerts"]}
    stays = {check["alertname"] for check in checks if not check["exp_alerts"]}
    assert fires == stays == {rule["alert"] for rule in RULES}
