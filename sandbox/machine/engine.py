"""The Docker engine as a container sees it, through the socket that is mounted into it. It finds, kills and starts.

The API: https://docs.docker.com/reference/api/engine/
"""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from outboxkit.errors import Problem

_SOCKET = "/var/run/docker.sock"
_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_SECONDS = 30.0


@dataclass(frozen=True)
class Container:
    """A container: its id, its name, and its addresses in its networks."""

    id: str
    name: str
    addresses: frozenset[str]


def project() -> str:
    """Return the compose project of the container that this process runs in."""
    own = _ask("GET", f"/containers/{socket.gethostname()}/json")
    return str(own["Config"]["Labels"][_PROJECT])


def running(project: str, service: str) -> list[Container]:
    """Return the containers of a service that run."""
    filters = json.dumps({"label": [f"{_PROJECT}={project}", f"{_SERVICE}={service}"]})
    return [
        Container(
            one["Id"],
            one["Names"][0].removeprefix("/"),
            frozenset(network["IPAddress"] for network in one["NetworkSettings"]["Networks"].values()),
        )
        for one in _ask("GET", f"/containers/json?filters={quote(filters)}")
    ]


def kill(container: Container) -> None:
    """End a container by SIGKILL; its restart policy does not apply."""
    _ask("POST", f"/containers/{container.id}/kill")


def start(container: Container) -> None:
    """Start a container that has ended."""
    _ask("POST", f"/containers/{container.id}/start")


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(_SOCKET)


def _ask(method: str, path: str) -> Any:  # noqa: ANN401 - JSON
    connection = _Connection("localhost")
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
    except OSError as error:
        raise Problem(
            f"the Docker engine does not answer at {_SOCKET}: {error}", remedy="mount the engine's socket there"
        ) from error
    finally:
        connection.close()
    if answer.status >= http.client.BAD_REQUEST:
        raise Problem(
            f"the Docker engine refused {method} {path}: {body.decode(errors='replace').strip()}", remedy="see its log"
        )
    return json.loads(body) if body else None
