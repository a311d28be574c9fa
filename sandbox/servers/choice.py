"""Chooses the back end: by the settings for a new sandbox, by the record for one that exists."""

import os
from pathlib import Path

from sandbox.servers import local, named, record
from sandbox.servers.backend import Backend, Servers
from sandbox.servers.local import Local
from sandbox.servers.named import Named
from sandbox.settings import SandboxSettings

DOCKER = "docker"


def choose(settings: SandboxSettings) -> tuple[str, Backend]:
    """Return the kind (`local`, `docker`, `named`) and the back end that `settings` ask for."""
    match settings.choice:
        case "docker":
            return DOCKER, _containers()
        case "auto" if settings.database_url and settings.amqp_url:
            return named.KIND, Named(Servers(settings.database_url, settings.amqp_url))
        case "auto" if _engine_answers():
            return DOCKER, _containers()
        case _:
            return local.KIND, Local()


def recorded(directory: Path) -> Backend:
    """Return the back end that made `directory`. Without a record, at most processes were started: `Local`."""
    match record.read(directory).get("kind"):
        case "docker":
            return _containers()
        case named.KIND:
            return Named()
        case _:
            return Local()


def _containers() -> Backend:
    from sandbox.servers.containers import Containers  # noqa: PLC0415 - takes half a second, and only Docker needs it

    return Containers()


def _engine_answers() -> bool:
    """Return whether a usable engine answers; loads its client only where there are signs of an engine."""
    home = Path.home() / ".docker"
    if not (os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").exists() or home.exists()):
        return False
    from sandbox.servers import containers  # noqa: PLC0415 - as above

    return containers.usable()
