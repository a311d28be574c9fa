"""docker/prometheus/ and docker/grafana/ against Prometheus itself: the rules' unit tests, and each panel's query.

Prometheus and promtool come from Debian's package, which is installed where it is missing.
"""

import subprocess
from collections.abc import Iterator
from functools import partial

import pytest

from sandbox import Isolated
from sandbox.machine import packages, ports
from sandbox.machine.waiting import until
from tests.support.commands import ROOT
from tests.support.dashboard import FILE, Prometheus, Query, queries
from tests.support.stage import Stage

FOLDER = ROOT / "docker" / "prometheus"
CONFIGURATION = """\
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
rule_files: [{rules}]
scrape_configs:
  - job_name: relay
    static_configs: [{{targets: ["{relay}"]}}]
  - job_name: consumers
    static_configs: [{{targets: ["{consumers}"]}}]
"""


def _promtool(*words: str) -> str:
    _, tool = packages.prometheus()
    done = subprocess.run([tool, *words], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_unit_tests_pass() -> None:
    assert "SUCCESS" in _promtool("test", "rules", "alerts.test.yml")


def test_prometheus_takes_the_configuration_of_compose() -> None:
    assert "SUCCESS" in _promtool("check", "config", "prometheus.yml")


def test_the_dashboard_and_its_datasource_name_each_other() -> None:
    datasource = (ROOT / "docker/grafana/provisioning/datasources/prometheus.yml").read_text(encoding="utf-8")
    assert "uid: prometheus\n" in datasource
    assert '"uid": "prometheus"' in FILE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def prometheus(sandbox_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Run a relay, a consumer and a Prometheus that scrapes both, while tasks are written and applied."""
    relay, consumers, own = (f"127.0.0.1:{port}" for port in ports.free(3, taken=frozenset()))
    stage = sandbox_stage
    stage.set_up()
    stage.consumer(CONSUMERS_HTTP_ADDRESS=consumers)
    stage.start("relay", "run", RELAY_HTTP_ADDRESS=relay).streams()
    place = tmp_path_factory.mktemp("prometheus")
    configuration = place / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(rules=FOLDER / "alerts.yml", relay=relay, consumers=consumers))
    server, _ = packages.prometheus()
    words = [f"--config.file={configuration}", f"--storage.tsdb.path={place / 'data'}", f"--web.listen-address={own}"]
    with (place / "log").open("wb") as log, subprocess.Popen([server, *words], stdout=log, stderr=log) as process:
        try:
            found = Prometheus(f"http://{own}")
            until(found.answers, what="Prometheus answers", seconds=60)
            assert stage.submit("--count", "200", "--rate", "50").ended() == 0
            stage.applied(200)
            yield found
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def sandbox_stage(module_isolated: Isolated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Return the stage of this module's tests, which share its processes."""
    stage = Stage(module_isolated, tmp_path_factory.mktemp("stage"))
    try:
        yield stage
    finally:
        stage.end()


@pytest.mark.parametrize("query", queries(), ids=lambda query: f"{query.panel}: {query.expression[:40]}")
def test_each_panels_query_has_a_value(prometheus: Prometheus, query: Query) -> None:
    assert until(partial(prometheus.values, query.expression), what=f"{query} has a value", seconds=30)


def test_scheduled_jobs_have_a_label_of_their_own_beside_the_targets_job(prometheus: Prometheus) -> None:
    ran = 'consumers_jobs_total{name="consumers.enqueue-due-tasks", outcome="ran", job="consumers"}'
    assert until(partial(prometheus.values, ran), what="the job has run", seconds=30)


def test_no_alert_fires_where_all_is_well_and_the_right_one_when_an_incident_is_there(
    prometheus: Prometheus, sandbox_stage: Stage
) -> None:
    """The unit tests have the rest: this one shows that the rules and the metrics meet."""
    until(partial(prometheus.values, "relay_slot_budget_bytes > 0"), what="the slot's budget is known", seconds=30)
    assert prometheus.firing() == []
    sandbox_stage.query("SELECT outbox.publish('nobody', '1', 1, 'takes this', '{}', exchange => 'amq.fanout')")
    until(lambda: "Events are parked" in prometheus.firing(), what="an alert fires", seconds=60)
