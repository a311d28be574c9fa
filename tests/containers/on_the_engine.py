"""`make containers`: the images and docker-compose.yml on a real Docker engine, from a fresh clone.

Not part of `make test`, which needs no engine. The images are built one after the other; nothing of it is left behind.
"""

import io
import json
import secrets
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import yaml

from sandbox.machine import ports
from sandbox.machine.waiting import until
from tests.containers.engine import Compose, inspect, run, state
from tests.support.clone import clone
from tests.support.dashboard import Prometheus, queries
from tests.support.kustomize import Manifest, rendered

APPLICATION, POSTGRES, PROMETHEUS, KUBECTL = (
    f"outbox-relay-test-{name}" for name in ("application", "postgres", "prometheus", "kubectl")
)
PLANTED = "planted-" + secrets.token_hex(16)
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none")
PORTS = (
    *("POSTGRES_PORT", "RABBITMQ_PORT", "RABBITMQ_MANAGEMENT_PORT", "REDIS_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT"),
    "HTTP_PORT",
)
PROFILES = ("sidecar", "redis", "monitoring", "demo", "partitioned", "locking-demo", "operator")
METRICS = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9188/metrics').read().decode())"

Report = Callable[[object], None]


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Return a function that adds a line to pytest's summary."""
    return partial(record_property, "report")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh clone with `make secrets` done, secrets planted where they may lie, and both images built."""
    place = clone(tmp_path_factory.mktemp("clone"))
    run(place / "docker" / "secrets", cwd=place)
    for name in (".env", "relay/.env", "sql/.env", "secrets.txt"):
        (place / name).write_text(f"SECRET={PLANTED}\n", encoding="ascii")
    for image, dockerfile in ((APPLICATION, "application"), (POSTGRES, "postgres")):
        run("docker", "build", "--tag", image, "--file", f"docker/{dockerfile}/Dockerfile", ".", cwd=place)
    return place


@pytest.fixture
def compose(checkout: Path) -> Iterator[Compose]:
    """Return compose for a project of its own; afterwards nothing of it is left."""
    settings = dict(zip(PORTS, map(str, ports.free(len(PORTS), taken=frozenset())), strict=True))
    images = {"OUTBOX_IMAGE": APPLICATION, "POSTGRES_IMAGE": POSTGRES, "PROMETHEUS_IMAGE": PROMETHEUS}
    compose = Compose(checkout, f"outbox{secrets.token_hex(3)}", settings | images)
    try:
        yield compose
    finally:
        profiles = [word for name in PROFILES for word in ("--profile", name)]
        compose(*profiles, "down", "--volumes", "--remove-orphans", "--timeout", "20")
    assert compose.left() == []


class TestImages:
    @pytest.fixture(autouse=True)
    def _built(self, checkout: Path) -> None:
        """Have them built."""

    def test_the_application_runs_as_nobody_in_particular_and_writes_nothing(self, report: Report) -> None:
        words = (
            "id -u; id -g; relay --version; consumers --version; writers --version; python3 -c 'import opentelemetry'"
        )
        out = run("docker", "run", "--rm", *HARDENED, APPLICATION, "sh", "-euc", words).split()
        assert out[:2] == ["10001", "10001"]
        report(f"uid {out[0]}, with --read-only --cap-drop ALL: {' '.join(out[2:])}")

    def test_no_compiler_and_no_installer_is_in_the_result(self) -> None:
        for image in (APPLICATION, POSTGRES):
            words = "for name in cc gcc g++ make pip pip3 cargo; do ! command -v $name || exit 1; done"
            run("docker", "run", "--rm", *HARDENED, "--entrypoint=sh", image, "-c", words)
        run("docker", "run", "--rm", *HARDENED, APPLICATION, "sh", "-c", "! python3 -m pip && ! python3 -m ensurepip")

    def test_what_they_say_of_themselves(self, report: Report) -> None:
        for image in (APPLICATION, POSTGRES):
            found = inspect(image)
            config = found["Config"]
            assert config["Healthcheck"]["Test"][0] == "CMD"
            assert config["User"] not in {"", "root", "0"}
            assert config["Labels"]["org.opencontainers.image.title"]
            base = inspect("debian:trixie-slim")["Size"]
            report(f"{image}: {found['Size'] / 1e6:.0f} MB, of which {base / 1e6:.0f} MB are debian:trixie-slim")

    def test_no_secret_is_in_a_layer_or_in_what_is_said_about_it(self, checkout: Path, report: Report) -> None:
        values = {PLANTED, *_secrets(checkout)}
        assert _scan(APPLICATION, {b"asks /readyz of the relay, the consumers"})[1], "the scan finds what is there"
        for image in (APPLICATION, POSTGRES):
            files, found = _scan(image, {value.encode() for value in values})
            assert not found, f"{image}: {found}"
            report(f"{image}: {files} files of all layers read, none of {len(values)} secrets found")


def test_a_fresh_clone_runs_loses_nothing_when_the_active_relay_is_killed_and_leaves_nothing(
    compose: Compose, report: Report
) -> None:
    _build_prometheus(compose.place)
    compose.up()
    task = compose.psql("writer", "SELECT tasks.submit('greet', '{\"name\": \"psql\"}')")
    _completed(compose, task)
    report(f"a task submitted by psql is completed: {task}")

    active = until(compose.active, what="a relay is active", seconds=30)
    run("docker", "kill", active)
    task = compose.psql("writer", "SELECT tasks.submit('greet', '{\"name\": \"standby\"}')")
    _completed(compose, task)
    successor = until(compose.active, what="the standby takes over", seconds=30)
    assert successor != active
    report(f"{active} killed, {successor} took over, a task committed meanwhile is completed")
    run("docker", "start", active)
    for command in (("dead", "redrive", "--all", "--yes"), ("dlq", "list")):
        compose("--profile", "operator", "run", "--rm", "operator", "consumers", *command)
    report("the operator's login may redrive, and reads the dead-letter queue")

    compose.up("prometheus", profile="monitoring")
    out = compose("--profile", "demo", "run", "--rm", "demo")
    for line in out.splitlines():
        report(line)
    shorter = Compose(compose.place, compose.project, {**compose.settings, "DEMO_TASKS": "500"})
    shorter("--profile", "demo", "up", "--exit-code-from", "demo", "demo")
    report("`up --exit-code-from demo demo` runs it too, and ends with its exit code")
    for to in ("polling", "auto"):  # so that there is a hand-over to be seen
        compose("run", "--rm", "setup", "relay", "switch", "--to", to)
    prometheus = Prometheus(f"http://127.0.0.1:{compose.settings['PROMETHEUS_PORT']}")
    until(prometheus.answers, what="Prometheus answers", seconds=60)
    for query in queries():
        values = until(partial(prometheus.values, query.expression), what=f"{query.panel} has a value", seconds=60)
        shown = ", ".join(f"{_labels(labels)}{_number(value)}" for labels, value in values[:6])
        report(f"{query.panel} | {query.expression} | {shown}")

    for name in compose.containers("relay") + compose.containers("consumers"):
        first = run("docker", "exec", name, "cat", "/proc/1/cmdline").split("\0")
        assert first[1].startswith("/opt/outbox-relay/bin/"), "a shell is between the engine and the command"
        run("docker", "stop", name)
        assert state(name) == "ended well", f"{name} was not drained"
    report("docker stop: each relay and consumer drains and ends with exit code 0")


def test_a_sidecar_shares_its_writers_network_namespace_also_after_the_writer_has_crashed(
    compose: Compose, report: Report
) -> None:
    compose.up("sidecar", profile="sidecar")
    (pod,), (writer,), (sidecar,) = map(compose.containers, ("pod", "writer", "sidecar"))
    for name in (writer, sidecar):
        assert inspect(name)["HostConfig"]["NetworkMode"] == f"container:{inspect(pod)['Id']}"
    code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9187/readyz').read().decode())"
    ready = run("docker", "exec", writer, "python3", "-c", code).strip()
    assert json.loads(ready) == {"source": True, "broker": True, "lag": True}
    report(f"the writer's own loopback has the relay: {ready}")

    def completed() -> int:
        return int(compose.psql("setup", "SELECT count(*) FROM tasks.task WHERE status = 'completed'"))

    until(lambda: completed() > 2, what="the writer's tasks are completed", seconds=60)
    run("docker", "kill", writer)
    run("docker", "start", writer)
    before = int(compose.psql("setup", "SELECT count(*) FROM tasks.task"))
    until(lambda: completed() > before + 2, what="tasks of the writer's next process are completed", seconds=60)
    assert state(sidecar) == "healthy"
    assert run("docker", "exec", writer, "python3", "-c", code).strip() == ready
    report(f"{writer} killed and started again: the relay has kept its network")


def test_four_relays_and_four_queues_by_hash_lose_nothing_and_keep_the_order_of_each_aggregate(
    compose: Compose, report: Report
) -> None:
    out = compose("--profile", "partitioned", "run", "--rm", "partitioned")  # fails unless all of it is right
    for line in out.splitlines():
        report(line)
    partitions = compose("--profile", "partitioned", "run", "--rm", "--no-deps", "partitions")
    assert "exists" in partitions, "setup can be repeated"

    (killed,) = compose.containers("relay-2")
    run("docker", "kill", killed)
    publish = "SELECT outbox.publish('order', 'a-' || n, 1, 'changed', '{}') FROM generate_series(1, 40) AS n"
    assert len(compose.psql("writer", publish).split()) == 40
    run("docker", "start", killed)

    def applied() -> bool:
        return compose.psql("setup", "SELECT count(*) FROM demo.order_view WHERE order_id LIKE 'a-%'") == "40"

    until(applied, what="the events of a partition whose relay was killed are applied", seconds=90, every=0.5)
    report(f"{killed} killed, 40 orders written, {killed} started: all are applied")

    done = subprocess.run(
        [*compose.words, "--project-name", compose.project, "run", "--rm", "--no-deps", "setup"],
        cwd=compose.place, env=compose.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "is divided into 4 partitions" in done.stdout + done.stderr
    report("a relay of all events is refused beside them")


def test_redis_takes_only_who_knows_its_password(compose: Compose) -> None:
    compose.up("redis", profile="redis")
    (redis,) = compose.containers("redis")
    assert "NOAUTH" in run("docker", "exec", redis, "redis-cli", "get", "x")
    password = (compose.place / "secrets" / "redis.conf").read_text(encoding="ascii").split("requirepass ")[1].strip()
    assert run("docker", "exec", "--env", f"REDISCLI_AUTH={password}", redis, "redis-cli", "ping").strip() == "PONG"


def test_consumers_hold_the_second_lock_in_the_redis_of_its_profile(compose: Compose) -> None:
    locking = Compose(compose.place, compose.project, {**compose.settings, "CONSUMERS_LOCK": "redis"})
    locking.up(profile="redis")
    _completed(locking, locking.psql("writer", "SELECT tasks.submit('greet')"))
    metrics = [run("docker", "exec", each, "python3", "-c", METRICS) for each in locking.containers("consumers")]
    assert any('consumers_second_locks_total{outcome="held"}' in each for each in metrics)
    assert not any('consumers_second_locks_total{outcome="without"}' in each for each in metrics)


@pytest.mark.parametrize("overlay", ["deployment", "sidecar"])
def test_kubectl_renders_what_make_test_validates(checkout: Path, overlay: str) -> None:
    run("docker", "build", "--tag", KUBECTL, "--file", "tests/containers/kubectl.Dockerfile", "tests/containers",
        cwd=checkout)  # fmt: skip
    folder = checkout / "docker" / "kubernetes"
    out = run(
        "docker",
        "run",
        "--rm",
        f"--volume={folder}:/kubernetes:ro",
        KUBECTL,
        "kustomize",
        f"/kubernetes/overlays/{overlay}",
    )

    def key(manifest: Manifest) -> tuple[str, str]:
        return manifest["kind"], manifest["metadata"]["name"]

    assert sorted(yaml.safe_load_all(out), key=key) == sorted(rendered(folder / "overlays" / overlay), key=key)


def test_requests_go_round_over_as_many_instances_as_there_are(compose: Compose, report: Report) -> None:
    compose.up("nginx")
    service = Balanced(f"http://127.0.0.1:{compose.settings['HTTP_PORT']}")
    counts = service.round(30)
    assert sorted(counts.values()) == [10, 10, 10]
    report(f"30 requests: {_counted(counts)}")

    compose("up", "-d", "--scale", "writers=5", "nginx")
    until(lambda: len(service.round(10)) == 5, what="nginx has found five instances", seconds=60)
    assert sorted(service.round(50).values()) == [10] * 5
    report(f"after `--scale writers=5`, nothing else changed: {_counted(service.round(50))}")

    # With its dependencies, docker-compose 1.29 would go back to three instances.
    out = compose("--profile", "locking-demo", "run", "--rm", "--no-deps", "locking-demo")
    for line in out.splitlines():
        report(line)

    # What is killed takes no request with it but those that it had: nginx goes on with the others.
    killed = compose.containers("writers")[0]
    run("docker", "kill", killed)
    counts = service.round(40)
    assert sum(counts.values()) == 40
    assert inspect(killed)["Config"]["Hostname"] not in counts
    report(f"{killed} killed, 40 requests answered by the others: {_counted(counts)}")

    (nginx,) = compose.containers("nginx")
    for name in (nginx, *(each for each in compose.containers("writers") if each != killed)):
        run("docker", "stop", name)
        assert state(name) == "ended well", f"{name} did not end in order"
    report("docker stop: nginx and each instance end with exit code 0")


def test_a_task_is_submitted_over_http_and_done_by_a_consumer(compose: Compose) -> None:
    compose.up()
    service = Balanced(f"http://127.0.0.1:{compose.settings['HTTP_PORT']}")
    task = service.submit({"type": "greet", "payload": {"name": "HTTP"}})
    _completed(compose, task)


class Balanced:
    """Asks the instances through nginx, each request on a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = url

    def round(self, requests: int) -> Counter[str]:
        """Return how many of `requests` requests each instance answered."""
        return Counter(str(self._ask(Request(f"{self._url}/"))["instance"]) for _ in range(requests))  # noqa: S310 - ours

    def submit(self, task: dict[str, object]) -> str:
        """Submit a task, and return its id."""
        headers = {"Content-Type": "application/json"}
        return str(self._ask(Request(f"{self._url}/tasks", json.dumps(task).encode(), headers))["id"])  # noqa: S310 - ours

    def _ask(self, request: Request) -> dict[str, object]:
        with urlopen(request, timeout=30) as answer:  # noqa: S310 - ours
            return dict(json.load(answer))


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{instance} {number}" for instance, number in sorted(counts.items()))


def _build_prometheus(place: Path) -> None:
    run("docker", "build", "--tag", PROMETHEUS, "--file", "tests/containers/prometheus.Dockerfile", "tests/containers",
        cwd=place)  # fmt: skip


def _completed(compose: Compose, task: str) -> None:
    until(
        lambda: compose.psql("setup", f"SELECT status FROM tasks.task WHERE id = '{task}'") == "completed",  # noqa: S608
        what=f"task {task} is completed",
        seconds=60,
        every=0.5,
    )


def _secrets(checkout: Path) -> Iterator[str]:
    """Yield what `make secrets` made: passwords, and the hashes of RabbitMQ's."""
    for path in (checkout / "secrets").iterdir():
        text = path.read_text(encoding="ascii")
        if path.name == "rabbitmq_definitions.json":
            yield from (user["password_hash"] for user in json.loads(text)["users"])
        else:
            yield text.split("requirepass ")[-1].strip()


def _scan(image: str, secrets: set[bytes]) -> tuple[int, list[str]]:
    """Return how many files all layers of `image` have, and where one of `secrets` stands in them or about them."""
    saved = subprocess.run(["docker", "save", image], capture_output=True, check=True).stdout
    files, found = 0, []
    with tarfile.open(fileobj=io.BytesIO(saved)) as outer:
        for member in outer.getmembers():
            content = outer.extractfile(member)
            if content is None:
                continue
            raw = content.read()
            if not member.name.endswith("layer.tar") and not _is_tar(raw):
                found += [member.name for secret in secrets if secret in raw]
                continue
            with tarfile.open(fileobj=io.BytesIO(raw)) as layer:
                for inner in layer.getmembers():
                    files += 1
                    text = layer.extractfile(inner).read() if inner.isfile() else inner.linkname.encode()  # type: ignore[union-attr]
                    found += [f"{member.name}: {inner.name}" for secret in secrets if secret in text]
    return files, found


def _is_tar(raw: bytes) -> bool:
    return raw[257:262] == b"ustar" or raw[:2] == b"\x1f\x8b"


def _labels(labels: dict[str, str]) -> str:
    shown = " ".join(value for name, value in sorted(labels.items()) if name not in {"__name__", "job"})
    return f"{shown} " if shown else ""


def _number(value: str) -> str:
    return f"{float(value):,.3g}" if value not in {"NaN", "+Inf", "-Inf"} else value
