"""Which back end: by the settings for a new sandbox, by its record for one that exists."""

from pathlib import Path

from sandbox import local, named, record
from sandbox.local import Local
from sandbox.named import Named
from sandbox.servers import Backend, Servers
from sandbox.settings import SandboxSettings


def choose(settings: SandboxSettings) -> tuple[str, Backend]:
    """Return the kind and the back end that `settings` ask for."""
    if settings.choice == "auto" and settings.database_url and settings.amqp_url:
        return named.KIND, Named(Servers(settings.database_url, settings.amqp_url))
    return local.KIND, Local()


def of(directory: Path) -> Backend:
    """Return the back end that made `directory`; one that was not recorded has started processes at most."""
    match record.read(directory).get("kind"):
        case named.KIND:
            return Named()
        case _:
            return Local()
