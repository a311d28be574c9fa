"""docker/kubernetes/: valid against Kubernetes' published schemas, and true to the code.

The schemas come with the package kubernetes-validate; nothing is asked of a cluster or a network.
"""

import re

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from consumers.settings import ConsumerSettings
from outboxkit.address import parse_address
from outboxkit.settings import Settings
from relay.settings import RelaySettings
from tests.support.commands import ROOT
from tests.support.kustomize import Manifest, containers, pod, rendered
from writers.settings import WritersSettings

FOLDER = ROOT / "docker" / "kubernetes"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
VERSIONS = ("1.29", "1.34")
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
AFTER_GRACE = 15
"""How many seconds after CONSUMERS_GRACE a consumer has ended: docs/handlers.md."""
KINDS: dict[str, type[Settings]] = {"relay": RelaySettings, "consumers": ConsumerSettings, "writers": WritersSettings}
DOCKERFILE = (ROOT / "docker" / "application" / "Dockerfile").read_text(encoding="utf-8")

overlays = pytest.mark.parametrize("overlay", OVERLAYS)


def _manifests(overlay: str) -> list[Manifest]:
    return rendered(FOLDER / "overlays" / overlay)


def _running(overlay: str) -> list[Manifest]:
    return [container for manifest in _manifests(overlay) for container in containers(manifest)]


def _named(overlay: str, kind: str, name: str) -> Manifest:
    (found,) = (one for one in _manifests(overlay) if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


def _ports(command: str) -> int:
    """Return the port at which the image's command serves HTTP."""
    found = re.search(rf"{command.upper()}_HTTP_ADDRESS=(\S+)", DOCKERFILE)
    assert found
    return parse_address(found[1])[1]


def test_the_forms_are_a_sidecar_and_a_deployment() -> None:
    assert OVERLAYS == ["deployment", "sidecar"]


@overlays
@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_and_has_no_unknown_field(overlay: str, version: str) -> None:
    for manifest in _manifests(overlay):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    manifest = _named("sidecar", "Deployment", "shop")
    pod(manifest)["initContainers"][0]["livenessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenessProb"):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


@overlays
def test_names_that_refer_to_something_refer_to_something_there(overlay: str) -> None:
    manifests = _manifests(overlay)
    accounts = {one["metadata"]["name"] for one in manifests if one["kind"] == "ServiceAccount"}
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in manifests if pod(one)]
    for manifest in manifests:
        if found := pod(manifest):
            assert found["serviceAccountName"] in accounts
            volumes = {volume["name"] for volume in found["volumes"]}
            used = {mount["name"] for container in containers(manifest) for mount in container["volumeMounts"]}
            assert used == volumes
        if manifest["kind"] == "Deployment":
            assert (
                manifest["spec"]["selector"]["matchLabels"].items()
                <= manifest["spec"]["template"]["metadata"]["labels"].items()
            )
        if manifest["kind"] == "PodDisruptionBudget":
            wanted = manifest["spec"]["selector"]["matchLabels"].items()
            assert [labels for labels in pods if wanted <= labels.items()], manifest["metadata"]["name"]
        if manifest["kind"] == "NetworkPolicy":
            (expression,) = manifest["spec"]["podSelector"]["matchExpressions"]
            roles = {labels["outbox-relay/role"] for labels in pods}
            assert roles == set(expression["values"])


@overlays
def test_probes_ask_for_paths_and_ports_that_the_code_serves(overlay: str) -> None:
    probed = [container for container in _running(overlay) if any(probe in container for probe in PROBES)]
    assert {container["command"][0] for container in probed} == {"relay", "consumers", "writers"}
    for container in probed:
        command = container["command"][0]
        (port,) = container["ports"]
        assert port["containerPort"] == _ports(command)
        sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / command).rglob("*.py"))
        for probe in PROBES:
            asked = container[probe]["httpGet"]
            assert asked["port"] == port["name"]
            assert re.search(rf'(health_route|Route)\("{asked["path"]}"', sources)


@overlays
def test_settings_in_the_environment_are_settings_of_the_command_and_secrets_are_files(overlay: str) -> None:
    for container in _running(overlay):
        command = container["command"][0]
        prefix, kind = f"{command.upper()}_", KINDS[command]
        (mount,) = container["volumeMounts"]
        for variable in container["env"]:
            assert "valueFrom" not in variable
            name = variable["name"].removeprefix(prefix)
            assert name.removesuffix("_FILE").lower() in kind.model_fields
            if name.endswith("_FILE"):
                assert variable["value"].startswith(mount["mountPath"] + "/")
        given = {variable["name"] for variable in container["env"]}
        for name, field in kind.model_fields.items():
            assert not field.is_required() or f"{prefix}{name.upper()}_FILE" in given


@overlays
def test_every_container_runs_as_the_images_user_with_nothing_it_does_not_need(overlay: str) -> None:
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user
    for manifest in _manifests(overlay):
        if found := pod(manifest):
            security = found["securityContext"]
            assert security["runAsNonRoot"] is True
            assert (str(security["runAsUser"]), str(security["runAsGroup"])) == user.groups()
            assert found["automountServiceAccountToken"] is False
            for container in containers(manifest):
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }
                assert {"requests", "limits"} <= set(container["resources"])


def test_the_sidecar_starts_before_the_application_and_outlives_it() -> None:
    found = pod(_named("sidecar", "Deployment", "shop"))
    (relay,) = found["initContainers"]
    assert relay["restartPolicy"] == "Always"
    (application,) = found["containers"]
    drain = 20
    waits = int(application["lifecycle"]["preStop"]["exec"]["command"][1])
    assert found["terminationGracePeriodSeconds"] >= waits + drain + 30


def test_neither_a_standby_nor_an_outage_of_rabbitmq_takes_the_application_from_its_service() -> None:
    """/livez is about the process alone; /readyz also about its servers and its lag."""
    (relay,) = pod(_named("sidecar", "Deployment", "shop"))["initContainers"]
    assert {relay[probe]["httpGet"]["path"] for probe in PROBES} == {"/livez"}


@overlays
def test_consumers_have_their_grace_and_the_time_after_it(overlay: str) -> None:
    found = pod(_named(overlay, "Deployment", "outbox-consumers"))
    assert found["terminationGracePeriodSeconds"] >= ConsumerSettings.model_fields["grace"].default + AFTER_GRACE


def test_a_relay_of_its_own_has_a_standby_and_time_to_drain() -> None:
    deployment = _named("deployment", "Deployment", "outbox-relay")
    assert deployment["spec"]["replicas"] == 2
    assert pod(deployment)["terminationGracePeriodSeconds"] == 30
    (relay,) = containers(deployment)
    assert relay["readinessProbe"]["httpGet"]["path"] == "/readyz"


@overlays
def test_images_have_the_projects_version(overlay: str) -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version
    assert {container["image"] for container in _running(overlay)} == {f"outbox-relay:{version[1]}"}


@overlays
def test_a_policy_lets_out_to_postgres_and_rabbitmq_and_in_to_the_metrics(overlay: str) -> None:
    (policy,) = (one["spec"] for one in _manifests(overlay) if one["kind"] == "NetworkPolicy")
    out = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert out == {53, 5432, 5671, 5672}
    metrics, requests = policy["ingress"][:2]
    assert {port["port"] for port in metrics["ports"]} == {_ports(name) for name in KINDS}
    assert requests["from"] == [{"podSelector": {}}]
    assert [port["port"] for port in requests["ports"]] == [_ports("writers")]


@overlays
def test_the_service_is_reached_where_its_pods_serve_and_those_end_their_requests(overlay: str) -> None:
    deployment, service = (_named(overlay, kind, "outbox-writers") for kind in ("Deployment", "Service"))
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    found = pod(deployment)
    (container,) = found["containers"]
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert found["terminationGracePeriodSeconds"] > waits + WritersSettings.model_fields["grace"].default


def test_no_manifest_has_a_secret() -> None:
    for path in FOLDER.rglob("*.yaml"):
        for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            assert manifest["kind"] != "Secret"
            assert "secretGenerator" not in manifest
