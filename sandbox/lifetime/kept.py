"""The one sandbox per user that outlives its command: `sandbox up`, `sandbox down`, and what runs beside it.

Its directory has no owner, so no other start sweeps it. The servers are found again by the mark of that directory,
not by anything remembered of their processes: after a crash or a restart of the machine `up` starts what is gone.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from outboxkit.errors import Problem
from sandbox.lifetime import directories, record
from sandbox.lifetime.starting import sweep
from sandbox.machine import signals
from sandbox.servers import amqp, named
from sandbox.servers import choice as backends
from sandbox.servers.backend import Servers
from sandbox.settings import SandboxSettings

_COMPANION_SECONDS = 10.0
_COMPLETE = "complete"
_AMQP_PORT = 5672


@dataclass(frozen=True)
class Kept:
    """A sandbox that stays: its kind (`local`, `docker`, `named`), its directory and its servers."""

    kind: str
    directory: Path
    servers: Servers

    def environment(self) -> dict[str, str]:
        """Return the settings by which the project's commands use it."""
        return {
            "RELAY_DATABASE_URL": self.servers.database_url,
            "RELAY_AMQP_URL": self.servers.amqp_url,
            "CONSUMERS_DATABASE_URL": self.servers.database_url,
            "CONSUMERS_AMQP_URL": self.servers.amqp_url,
            "WRITERS_DATABASE_URL": self.servers.database_url,
        }

    def versions(self) -> tuple[str | None, str | None]:
        """Ask Postgres and RabbitMQ for their versions; None for one that does not answer."""
        return _postgres_version(self.servers.database_url), _rabbitmq_version(self.servers.amqp_url)


def up(settings: SandboxSettings) -> Kept:
    """Make the kept sandbox, or start again what stopped of it; raises Problem when it is of another kind."""
    with directories.locked("kept"), signals.raised():
        sweep()
        directory = directories.kept()
        if (directory / _COMPLETE).exists():
            _start_again(directory, settings)
        else:
            _create(directory, settings)
        return _found(directory)


def down() -> bool:
    """End the kept sandbox and its companions (SIGTERM, SIGKILL after 10 s) and remove it; False when none is."""
    with directories.locked("kept"), signals.deferred():
        directory = directories.kept()
        if not directory.exists():
            return False
        _remove(directory)
        return True


def find() -> Kept | None:
    """Return the kept sandbox, running or not; None when there is none."""
    directory = directories.kept()
    return _found(directory) if (directory / _COMPLETE).exists() else None


def _create(directory: Path, settings: SandboxSettings) -> None:
    _, backend = backends.choose(settings)
    _remove(directory)  # what an `up` that was killed has left
    try:
        directory.mkdir(mode=0o711)
        backend.create(directory)
        (directory / _COMPLETE).touch()
    except BaseException:
        with signals.deferred():
            _remove(directory)
        raise


def _start_again(directory: Path, settings: SandboxSettings) -> None:
    there = _found(directory).kind
    if settings.choice != "auto" or settings.database_url:  # otherwise what is there will do
        kind, backend = backends.choose(settings)
        if kind != there:
            raise Problem(f"a sandbox of the kind {there!r} is up already, not {kind!r}", remedy="sandbox down")
        if kind == named.KIND:
            backend.create(directory)  # other URLs perhaps
    if there == named.KIND:
        return  # there is nothing to start
    box = backends.of(directory).attach(directory)
    box.postgres.start()
    box.rabbitmq.start()


def _remove(directory: Path) -> None:
    backends.end(directory, patience=_COMPANION_SECONDS)
    shutil.rmtree(directory, ignore_errors=True)


def _found(directory: Path) -> Kept:
    kind = record.read(directory)["kind"]
    return Kept(kind, directory, backends.of(directory).attach(directory).servers)


def _postgres_version(url: str) -> str | None:
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            return connection.info.parameter_status("server_version")
    except psycopg.OperationalError:
        return None


def _rabbitmq_version(url: str) -> str | None:
    place = urlsplit(url)
    return amqp.version(place.hostname or "localhost", place.port or _AMQP_PORT)
