"""The sandbox that outlives its command, one per checkout: `sandbox up`, `sandbox down`, and what runs beside it.

Its directory has no owner, so the next start of another sandbox does not remove it. Its servers are found by the mark
of that directory, and their processes are not recorded: after a crash or a reboot, `up` starts what has stopped.
"""

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from outboxkit.errors import Problem
from sandbox.lifetime import companions
from sandbox.lifetime.companions import Companions
from sandbox.lifetime.ending import end, sweep
from sandbox.machine import directories, signals
from sandbox.servers import choice, named, record, versions
from sandbox.servers.backend import Servers
from sandbox.settings import SandboxSettings

_COMPANION_SECONDS = 10.0
_COMPLETE = "complete"
"""A file that exists once `up` has succeeded; its time is when servers were last started."""


@dataclass(frozen=True)
class Kept:
    """A kept sandbox: its kind (`local`, `docker`, `named`), its directory, its servers, and when they were started.

    `companions` are what was asked for beside the servers.
    """

    kind: str
    directory: Path
    servers: Servers
    since: datetime
    companions: Companions

    def environment(self) -> dict[str, str]:
        """Return the settings by which the project's commands use it: a cluster, if there is one."""
        return {
            "RELAY_DATABASE_URL": self.servers.database_url,
            "RELAY_AMQP_URL": self.servers.amqp_url,
            "CONSUMERS_DATABASE_URL": self.servers.database_url,
            "CONSUMERS_AMQP_URL": self.servers.amqp_url,
            "WRITERS_DATABASE_URL": self.servers.database_url,
            **self.companions.environment(),
        }

    def versions(self) -> tuple[str | None, str | None]:
        """Return the versions of Postgres and RabbitMQ; None for a server that does not answer."""
        return versions.read(self.servers)


def up(settings: SandboxSettings, *, redis: bool = False, cluster: bool = False) -> tuple[Kept, bool]:
    """Make this checkout's sandbox, with what is asked for beside it, or start again what has stopped of it.

    Returns it, and whether it was running already. Raises Problem when it is of another kind than `settings` ask for.
    """
    directory = directories.kept()
    with directories.locked(directory.name), signals.raised():
        sweep()
        if (directory / _COMPLETE).exists():
            running = not _start_again(directory, settings)
        else:
            _create(directory, settings)
            running = False
        companions.ask(directory, redis=redis, cluster=cluster)
        if companions.start(directory):
            (directory / _COMPLETE).touch()
            running = False
        return _found(directory), running


def down() -> bool:
    """End this checkout's sandbox and its companions (SIGTERM, SIGKILL after 10 s), and remove it; False if none."""
    return _end(directories.kept())


def down_per_user() -> bool:
    """End the sandbox that an earlier version kept for this user, whichever checkout started it; False if none."""
    return _end(directories.kept_per_user())


def find() -> Kept | None:
    """Return this checkout's sandbox, running or not; None when there is none."""
    directory = directories.kept()
    return _found(directory) if (directory / _COMPLETE).exists() else None


def _create(directory: Path, settings: SandboxSettings) -> None:
    _, backend = choice.choose(settings)
    _remove(directory)  # left by an `up` that was killed
    try:
        directories.make_kept()
        backend.create(directory)
        (directory / _COMPLETE).touch()
    except BaseException:
        with signals.deferred():
            _remove(directory)
        raise


def _start_again(directory: Path, settings: SandboxSettings) -> bool:
    """Start what has stopped, or record other named servers; returns whether that was needed."""
    before = _found(directory)
    if settings.choice != "auto" or settings.database_url:  # otherwise any kind is accepted
        kind, backend = choice.choose(settings)
        if kind != before.kind:
            raise Problem(
                f"this checkout's sandbox is of the kind {before.kind!r}, not {kind!r}", remedy="run: sandbox down"
            )
        if kind == named.KIND:
            backend.create(directory)
    if before.kind == named.KIND:
        changed = _found(directory).servers != before.servers
    elif changed := None in before.versions():
        box = choice.recorded(directory).attach(directory)
        box.postgres.start()
        box.rabbitmq.start()
    if changed:
        (directory / _COMPLETE).touch()
    return changed


def _end(directory: Path) -> bool:
    with directories.locked(directory.name), signals.deferred():
        if not directory.exists():
            return False
        _remove(directory)
        return True


def _remove(directory: Path) -> None:
    end(directory, grace=_COMPANION_SECONDS)
    shutil.rmtree(directory, ignore_errors=True)


def _found(directory: Path) -> Kept:
    since = datetime.fromtimestamp((directory / _COMPLETE).stat().st_mtime).astimezone()
    servers = choice.recorded(directory).attach(directory).servers
    return Kept(record.read(directory)["kind"], directory, servers, since, companions.find(directory))
