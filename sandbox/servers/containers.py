"""The back end that runs both servers as containers, on a Docker engine of this machine.

Containers have the sandbox's directory as a label, by which they are found and removed, also after their owner was
killed. Ports are fixed and published on loopback only, so a restarted server keeps its address.
"""

import secrets
import socket
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker.errors  # type: ignore[import-not-found]  # it has no types, and mypy finds our docker/ first
import psycopg
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.utils import inside_container

from outboxkit.errors import Problem
from sandbox.machine.waiting import until
from sandbox.servers import amqp, postgres, rabbitmq, record
from sandbox.servers.backend import Box, Servers, StopMode

KIND = "docker"
_LABEL = "outbox-relay.sandbox"
_CHECKOUT = Path(__file__).parents[2]
_POSTGRES_DOCKERFILE = "docker/postgres/Dockerfile"
_POSTGRES_IMAGE = "outbox-relay-postgres"  # that of docker-compose.yml
_RABBITMQ_IMAGE = "rabbitmq:4-management"
_START_SECONDS = 90.0
_STOP_SECONDS = 60.0
_LOCAL = ("localhost", "127.0.0.1")


def usable() -> bool:
    """Return whether a Docker engine answers that publishes ports on this machine's loopback."""
    try:
        with _engine():
            return True
    except Problem:
        return False


class Containers:
    """Postgres built from docker/postgres/Dockerfile, as for docker-compose.yml, and RabbitMQ's own image."""

    def create(self, directory: Path) -> Box:
        """Make and start both servers; the first time, build and pull the images."""
        with _engine() as engine:
            values = record.reserve(directory, "postgres_port", "amqp_port", kind=KIND, password=secrets.token_hex(12))
            engine.build(str(_CHECKOUT), tag=_POSTGRES_IMAGE, dockerfile=_POSTGRES_DOCKERFILE)
            _run(
                engine,
                _RABBITMQ_IMAGE,
                directory / "rabbitmq",
                ports={"5672/tcp": ("127.0.0.1", values["amqp_port"])},
                environment={
                    "RABBITMQ_DEFAULT_USER": rabbitmq.USER,
                    "RABBITMQ_DEFAULT_PASS": values["password"],
                },
            )
            _run(
                engine,
                _POSTGRES_IMAGE,
                directory / "postgres",
                ports={"5432/tcp": ("127.0.0.1", values["postgres_port"])},
                environment={
                    "PASSWORD": values["password"],
                    "CONFIGURATION": postgres.configuration(address="*", port=5432),
                },
            )
        box = self.attach(directory)
        box.postgres.start()
        box.rabbitmq.start()
        return box

    def attach(self, directory: Path) -> Box:
        """Find the servers that `create` made in `directory`; they may be stopped."""
        values = record.read(directory)
        return Box(
            Servers(
                postgres.url(port=values["postgres_port"], password=values["password"]),
                rabbitmq.url(port=values["amqp_port"], password=values["password"]),
            ),
            _Postgres(directory / "postgres", values["postgres_port"], values["password"]),
            _Rabbitmq(directory / "rabbitmq", values["amqp_port"]),
        )

    def destroy(self, directory: Path) -> None:
        """Remove both containers, running or not, with their volumes."""
        with _engine() as engine:
            for place in (directory / "postgres", directory / "rabbitmq"):
                for container in _containers(engine, place):
                    with suppress(docker.errors.NotFound):
                        container.remove(force=True, v=True)


class _Server:
    """One container: `place` is its label."""

    def __init__(self, place: Path, port: int) -> None:
        self._place = place
        self._port = port

    def kill(self) -> None:
        self._end(signal="SIGKILL")

    def start(self) -> None:
        with self._container() as container:
            container.start()
            until(
                lambda: self._answers() or self._has_ended(container),
                what=f"the container of {self._place.name} accepts connections",
                seconds=_START_SECONDS,
            )

    def _answers(self) -> bool:
        raise NotImplementedError

    def _end(self, *command: str, signal: str = "") -> None:
        """End it by a signal to its first process, or by a command inside it, and wait for it."""
        with self._container() as container:
            if _status(container) != "running":
                return
            if command:
                container.exec_run(list(command))
            else:
                container.kill(signal)
            until(
                lambda: _status(container) == "exited",
                what=f"the container of {self._place.name} ends",
                seconds=_STOP_SECONDS,
            )

    def _has_ended(self, container: Any) -> bool:  # noqa: ANN401 - docker has no types
        if _status(container) == "running":
            return False
        log = container.logs(tail=3).decode(errors="replace")
        raise Problem(f"the container of {self._place.name} ended: {log}", remedy=f"docker logs {container.name}")

    @contextmanager
    def _container(self) -> Iterator[Any]:
        with _engine() as engine:
            found = _containers(engine, self._place)
            if not found:
                raise Problem(
                    f"the container of {self._place.name} is gone",
                    remedy="make a new sandbox: sandbox down, sandbox up",
                )
            yield found[0]


class _Postgres(_Server):
    def __init__(self, place: Path, port: int, password: str) -> None:
        super().__init__(place, port)
        self._url = postgres.url(port=port, password=password)

    def stop(self, mode: StopMode = "fast") -> None:
        self._end(signal="SIGINT" if mode == "fast" else "SIGQUIT")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


class _Rabbitmq(_Server):
    def control(self, *arguments: str) -> str:
        with self._container() as container:
            # As root, Debian's script passes the words to a shell. Erlang decodes them by the locale.
            words, locale = [*rabbitmq.CONTROL, *arguments], {"LC_ALL": "C.UTF-8"}
            code, output = container.exec_run(words, user="rabbitmq", environment=locale)
        return rabbitmq.controlled(arguments, code, output.decode(errors="replace"))

    def stop(self) -> None:
        self._end("rabbitmqctl", "stop")  # in some images the first process is a shell, which does not forward SIGTERM

    def _answers(self) -> bool:
        return amqp.version("127.0.0.1", self._port) is not None


@contextmanager
def _engine() -> Iterator[DockerClient]:
    """Connect to the engine that testcontainers finds; raises Problem for every error of the engine."""
    client = None
    try:
        client = DockerClient()
        if not _is_here(client):
            raise Problem(
                "the Docker engine is not on this machine", remedy="set SANDBOX=local, or DOCKER_HOST to one that is"
            )
        yield client
    except docker.errors.DockerException as error:
        _close_sockets(error)
        raise Problem(
            f"Docker: {error}", remedy="check that the engine runs and that this user may use it, or set SANDBOX=local"
        ) from error
    finally:
        if client is not None:
            client.client.close()


def _close_sockets(error: BaseException) -> None:
    """Close the socket that docker's client leaves open if nobody listens at its address: a frame of `error` has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        cause: BaseException | None = error
        while cause is not None:
            traceback.clear_frames(cause.__traceback__)
            cause = cause.__context__


def _is_here(client: DockerClient) -> bool:
    """Return whether the engine's loopback is ours; inside a container, only if the engine runs in the same one."""
    name = client.client.info()["Name"]
    return client.host() in _LOCAL and (not inside_container() or name == socket.gethostname())


def _run(engine: DockerClient, image: str, place: Path, **options: Any) -> None:  # noqa: ANN401 - docker's options
    engine.run(image, detach=True, network="bridge", labels={_LABEL: str(place)}, **options)


def _containers(engine: DockerClient, place: Path) -> list[Any]:
    found: list[Any] = engine.client.containers.list(all=True, filters={"label": f"{_LABEL}={place}"})
    return found


def _status(container: Any) -> str:  # noqa: ANN401 - docker has no types
    container.reload()
    return str(container.status)
