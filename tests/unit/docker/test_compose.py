"""docker-compose.yml as its file stands: whom a service waits for, what it may do, where its secrets come from."""

import re
from typing import Any

import pytest
import yaml

from consumers.settings import ConsumerSettings
from outboxkit.settings import Settings
from relay.operating.topology.topology import Topology
from relay.settings import RelaySettings
from sandbox.settings import SandboxSettings
from tests.support.commands import ROOT
from tests.unit.docs.markdown import quoted, rows, section
from writers.service.routes.demo import MOST_SECONDS
from writers.settings import WritersSettings

TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
ONE_SHOT = {"setup", "grants", "demo", "partitions", "partition-grants", "partitioned", "locking-demo", "operator"}
KINDS: tuple[type[Settings], ...] = (RelaySettings, ConsumerSettings, WritersSettings, SandboxSettings)
# The images that bring their own: their HEALTHCHECK.
CHECKED_IMAGES = {"outbox-relay", "outbox-relay-postgres"}
AFTER_GRACE = 15
"""How many seconds after CONSUMERS_GRACE a consumer has ended: docs/handlers.md."""
NGINX = (ROOT / "docker" / "nginx" / "nginx.conf").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "docker" / "application" / "Dockerfile").read_text(encoding="utf-8")
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+):-([^}]*)\}")

services = pytest.mark.parametrize("name", SERVICES)
lasting = pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))


def _image(service: dict[str, Any]) -> str:
    return VARIABLE.sub(r"\2", service["image"])


def test_the_services_are_those_of_a_whole_system_and_the_rest_are_profiles() -> None:
    always = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert always == {"postgres", "rabbitmq", "setup", "grants", "relay", "consumers", "writers", "nginx"}
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    assert profiles == {"sidecar", "redis", "monitoring", "demo", "partitioned", "locking-demo", "operator"}
    assert [SERVICES[name]["scale"] for name in ("relay", "consumers", "writers")] == [2, 2, 3]


def test_the_file_has_nothing_that_compose_1_29_does_not_know() -> None:
    assert {name for name in FILE if not name.startswith("x-")} == {"services", "volumes", "secrets"}
    for service in SERVICES.values():
        assert not {"deploy", "develop", "attach", "pull_policy"} & set(service)
        assert "start_interval" not in service.get("healthcheck", {})


@services
def test_a_service_waits_until_the_others_are_ready(name: str) -> None:
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        if other in ONE_SHOT:
            assert wanted["condition"] == "service_completed_successfully"
        elif other in {"pod", "writer"}:  # serve nothing
            assert wanted["condition"] == "service_started"
        else:
            assert wanted["condition"] == "service_healthy"


@lasting
def test_a_service_that_lasts_has_a_health_check_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert "healthcheck" in service or _image(service) in CHECKED_IMAGES
    assert service["restart"] == "unless-stopped"


@services
def test_a_service_has_limits_and_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"]
    assert service["cpus"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    if name not in {"rabbitmq", "grafana"}:  # their images write below their root
        assert service["read_only"] is True
    if name != "rabbitmq":  # starts as root, and becomes another user
        assert service["cap_drop"] == ["ALL"]
    has_socket = any("docker.sock" in str(volume) for volume in service.get("volumes", []))
    assert has_socket == (name == "demo")


@services
def test_ports_are_published_on_loopback_and_can_be_set(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+_PORT:-\d+\}:\d+", port)


@services
def test_no_secret_is_in_a_variable(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search(r"PASSWORD|URL|SECRET|TOKEN", variable):
            assert re.fullmatch(r"/run/secrets/\w+", value)
            assert value.removeprefix("/run/secrets/") in SERVICES[name]["secrets"]


def test_every_secret_is_a_file_of_make_secrets_and_every_such_file_is_used(made: set[str]) -> None:
    assert {secret["file"].removeprefix("./secrets/") for secret in FILE["secrets"].values()} == made
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == set(FILE["secrets"])
    assert all(name == secret["file"].removeprefix("./secrets/") for name, secret in FILE["secrets"].items())


@services
def test_settings_of_ours_are_settings_of_the_code(name: str) -> None:
    prefixes = {str(kind.model_config["env_prefix"]): kind for kind in KINDS}
    for variable in SERVICES[name].get("environment", {}):
        for prefix, kind in prefixes.items():
            if variable.startswith(prefix):
                assert variable.removeprefix(prefix).removesuffix("_FILE").lower() in kind.model_fields


def test_a_network_namespace_is_shared_only_with_what_is_never_started_again() -> None:
    """A container that Docker starts again has a new namespace; who joined the old one has no network any more."""
    joined = {service["network_mode"] for service in SERVICES.values() if "network_mode" in service}
    assert joined == {"service:pod"}
    assert SERVICES["pod"]["command"] == ["sleep", "infinity"]
    for page in ("README.md", "docs/containers.md"):
        assert not re.search(r"network_mode: service:(?!pod)", (ROOT / page).read_text(encoding="utf-8"))


def test_four_relays_have_a_partition_each_and_a_consumer_reads_each_queue_of_four() -> None:
    relays = [SERVICES[f"relay-{number}"]["environment"] for number in range(1, 5)]
    for number, each in enumerate(relays, 1):
        assert each["RELAY_PARTITION"] == f"{number}/4"
    assert len({each["RELAY_NAME"] for each in relays}) == len({each["RELAY_SLOT"] for each in relays}) == 4
    (script,) = [word for word in SERVICES["partitions"]["command"] if "relay setup" in word]
    for each in relays:
        number = each["RELAY_PARTITION"][0]
        for name in ("RELAY_NAME", "RELAY_SLOT", "RELAY_PARTITION"):
            assert f"{name}={each[name]}" in script.replace("$$number", number), "set up as it runs"
    topology = Topology.read("hash:4", source="outbox")
    for each in (*relays, SERVICES["partitions"]["environment"]):
        assert (each["RELAY_TOPOLOGY"], each["RELAY_TOPOLOGY_KEYS"]) == (str(topology), "order.*")
    readers = [SERVICES[f"reader-{number}"]["environment"] for number in range(4)]
    assert [each["CONSUMERS_EVENTS_QUEUE"] for each in readers] == [queue.name for queue in topology.queues]
    assert {each["CONSUMERS_EVENTS_BIND"] for each in readers} == {"false"}


def test_no_relay_of_all_events_runs_beside_the_partitions() -> None:
    """Setup refuses them beside it, and `run partitioned` starts what it depends on."""
    needed, new = set[str](), {"partitioned"}
    while new:
        needed |= new
        new = {other for name in new for other in SERVICES[name].get("depends_on", {})} - needed
    assert not needed & {"setup", "grants", "relay", "consumers"}


def test_prometheus_finds_every_relay_consumer_and_writer() -> None:
    scraped = yaml.safe_load((ROOT / "docker" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    names = {name for job in scraped["scrape_configs"] for found in job["dns_sd_configs"] for name in found["names"]}
    assert names == {"relay", "pod", "consumers", "writers", "rabbitmq"}
    assert names <= set(SERVICES)


def test_named_volumes_are_declared_and_what_is_mounted_is_there() -> None:
    named = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = VARIABLE.sub(r"\2", volume).split(":")[0]
            if source.startswith("./") or source == ".":
                assert (ROOT / source).exists(), source
            elif not source.startswith("/"):
                named.add(source)
    assert named == set(FILE["volumes"])


def test_every_variable_is_listed_with_its_default() -> None:
    page = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    listed = {quoted(name)[0]: quoted(default)[0] for name, default, _ in rows(section(page, "### Variables"))}
    assert listed == dict(VARIABLE.findall(TEXT))


def test_a_stop_leaves_time_to_drain() -> None:
    seconds = {"30s": 30, "1m": 60, "10s": 10}
    for name in ("relay", "sidecar"):
        assert seconds[SERVICES[name]["stop_grace_period"]] >= 30
    consumers = SERVICES["consumers"]
    assert "CONSUMERS_GRACE" not in consumers["environment"]
    assert seconds[consumers["stop_grace_period"]] >= ConsumerSettings.model_fields["grace"].default + AFTER_GRACE
    writers = SERVICES["writers"]
    assert "WRITERS_GRACE" not in writers["environment"]
    assert seconds[writers["stop_grace_period"]] > WritersSettings.model_fields["grace"].default


def test_any_number_of_instances_can_run_behind_nginx_which_alone_has_a_port() -> None:
    """A published port, or a name of its own, is for one container only."""
    writers, nginx = SERVICES["writers"], SERVICES["nginx"]
    assert not {"ports", "container_name", "hostname"} & set(writers)
    assert "WRITERS_INSTANCE" not in writers["environment"]
    (port,) = nginx["ports"]
    (listen,) = re.findall(r"^\s+listen (\d+);$", NGINX, re.MULTILINE)
    assert port.endswith(f":-8080}}:{listen}")
    served = re.search(r"WRITERS_HTTP_ADDRESS=\S+:(\d+)", DOCKERFILE)
    assert served
    assert f"server $address:{served[1]} " in (ROOT / "docker" / "nginx" / "run").read_text(encoding="utf-8")


def test_nginx_waits_longer_than_an_instance_works() -> None:
    """The longest grab, with the sessions' wait before it."""
    longest = MOST_SECONDS + WritersSettings.model_fields["pool_wait"].default
    for directive in ("proxy_read_timeout", "worker_shutdown_timeout"):
        (wait,) = re.findall(rf"{directive} (\d+)s;", NGINX)
        assert int(wait) > longest


def test_nginx_waits_for_a_grab_that_waits_for_those_of_all_sessions_of_five_instances() -> None:
    """Without SKIP LOCKED they work one after the other."""
    (hours,) = re.findall(r"location = /grab-task \{[^}]*proxy_read_timeout (\d+)h;", NGINX)
    assert int(hours) * 3600 >= 5 * WritersSettings.model_fields["pool_size"].default * MOST_SECONDS


def test_postgres_has_sessions_for_five_instances_and_all_others() -> None:
    (most,) = re.findall(r"max_connections = (\d+)", SERVICES["postgres"]["environment"]["CONFIGURATION"])
    relays_and_consumers = 2 * 20 + 2 * 20
    assert int(most) >= 5 * WritersSettings.model_fields["pool_size"].default + relays_and_consumers
