"""Which back end: by the settings for a new sandbox, by its record for one that exists."""

import os
import signal
from pathlib import Path

from sandbox.lifetime import record
from sandbox.lifetime.directories import COMPANIONS
from sandbox.machine import processes
from sandbox.servers import local, named
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


def of(directory: Path) -> Backend:
    """Return the back end that made `directory`; one that was not recorded has started processes at most."""
    match record.read(directory).get("kind"):
        case "docker":
            return _containers()
        case named.KIND:
            return Named()
        case _:
            return Local()


def end(directory: Path, *, patience: float = 0.0) -> None:
    """End all that runs for `directory`: what runs beside the servers (SIGTERM, SIGKILL after `patience` s) first."""
    processes.end(directory / COMPANIONS, ask=signal.SIGTERM, patience=patience)
    of(directory).destroy(directory)


def _containers() -> Backend:
    from sandbox.servers.containers import Containers  # noqa: PLC0415 - half a second, for those who have Docker only

    return Containers()


def _engine_answers() -> bool:
    """Look before asking: most machines without an engine have none of these, and need not load its client."""
    home = Path.home() / ".docker"
    if not (os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").exists() or home.exists()):
        return False
    from sandbox.servers import containers  # noqa: PLC0415 - as above

    return containers.usable()
