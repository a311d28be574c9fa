"""Installs the packages that the local back end and tests lack, on Debian and Ubuntu as root; elsewhere it names them.

A server's package normally starts the server, enables it at boot, and creates a cluster. To prevent this, dpkg gets a
PATH that begins with a directory where the programs that do so (invoke-rc.d(8), deb-systemd-invoke(1p),
pg_createcluster(1), ...) do nothing. The machine's configuration stays unchanged, so nothing has to be restored after
a `kill -9`; a policy-rc.d would stay behind.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from outboxkit.errors import Problem
from sandbox.machine import directories, programs, signals

_SILENCED = (
    "deb-systemd-helper",
    "deb-systemd-invoke",
    "invoke-rc.d",
    "pg_createcluster",
    "service",
    "systemctl",
    "update-rc.d",
)
_DPKG_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LOCK_SECONDS = 600
_REDIS = "install the package that has redis-server (Debian, Ubuntu, as root: apt-get install redis-server)"
_PROMETHEUS = "install a package that has prometheus and promtool (Debian, Ubuntu, as root: apt-get install prometheus)"
_NGINX = "install a package that has nginx (Debian, Ubuntu, as root: apt-get install nginx)"
_PGBOUNCER = "install a package that has pgbouncer (Debian, Ubuntu, as root: apt-get install pgbouncer)"


@dataclass(frozen=True)
class Programs:
    """The directory of Postgres' programs, and RabbitMQ's start script."""

    postgres: Path
    rabbitmq: Path


class Missing(Problem):
    """A server's program is not on this machine and could not be installed."""


def require() -> Programs:
    """Return the programs; installs missing ones where it can, and raises Missing where it cannot."""
    with directories.locked("packages"):  # another process may be installing them
        if found := _found():
            return found
        if os.getuid() != 0 or not _is_debian():
            raise Missing(f"{_lacking()} not installed", remedy=_remedy())
        with signals.deferred():  # dpkg must not be interrupted halfway
            return _install_servers()


def redis() -> Path:
    """Return `redis-server`; installs it where it can, and raises Missing where it cannot."""
    with directories.locked("packages"):
        if (found := programs.redis()) is None:
            if os.getuid() != 0 or not _is_debian():
                raise Missing("Redis is not installed", remedy=_REDIS)
            with signals.deferred():
                _apt("update")
                _install(["redis-server"])
            found = programs.redis()
    if found is None:
        raise Missing("Redis is still missing after installing redis-server", remedy=_REDIS)
    return found


def prometheus() -> tuple[Path, Path]:
    """Return Prometheus and promtool; installs them where it can, and raises Missing where it cannot."""
    with directories.locked("packages"):
        if shutil.which("promtool") is None or shutil.which("prometheus") is None:
            if os.getuid() != 0 or not _is_debian():
                raise Missing("Prometheus is not installed", remedy=_PROMETHEUS)
            with signals.deferred():
                _apt("update")
                _install(["prometheus"])
    server, tool = shutil.which("prometheus"), shutil.which("promtool")
    if server is None or tool is None:
        raise Missing("Prometheus is still missing after installing prometheus", remedy=_PROMETHEUS)
    return Path(server), Path(tool)


def pgbouncer() -> Path:
    """Return PgBouncer; installs it where it can, and raises Missing where it cannot."""
    return _program("pgbouncer", title="PgBouncer", remedy=_PGBOUNCER)


def nginx() -> Path:
    """Return nginx; installs it where it can, and raises Missing where it cannot."""
    return _program("nginx", title="nginx", remedy=_NGINX)


def _program(name: str, *, title: str, remedy: str) -> Path:
    """Return the program `name` of the package that is called the same."""
    with directories.locked("packages"):
        path = programs.search_path()
        if shutil.which(name, path=path) is None:
            if os.getuid() != 0 or not _is_debian():
                raise Missing(f"{title} is not installed", remedy=remedy)
            with signals.deferred():
                _apt("update")
                _install([name])
        found = shutil.which(name, path=path)
    if found is None:
        raise Missing(f"{title} is still missing after installing {name}", remedy=remedy)
    return Path(found)


def _found() -> Programs | None:
    postgres, rabbitmq = programs.postgres(), programs.rabbitmq()
    if postgres is None or not postgres.has_wal2json or rabbitmq is None:
        return None
    return Programs(postgres.directory, rabbitmq)


def _install_servers() -> Programs:
    _apt("update")  # the package names below come from its lists
    wanted = _wanted()
    _install(wanted)
    found = _found()
    if found is None:
        raise Missing(f"{_lacking()} still missing after installing {', '.join(wanted)}", remedy=_remedy())
    return found


def _install(wanted: list[str]) -> None:
    sys.stderr.write(f"sandbox: installing {', '.join(wanted)} (no service is started or enabled)\n")
    with tempfile.TemporaryDirectory(prefix="sandbox-packages-") as silenced:
        for name in _SILENCED:
            program = Path(silenced) / name
            program.write_text("#!/bin/sh\nexit 0\n", encoding="ascii")
            program.chmod(0o755)
        Path(silenced).chmod(0o755)
        _apt("install", "--no-install-recommends", "-o", f"DPkg::Path={silenced}:{_DPKG_PATH}", *wanted)


def _wanted() -> list[str]:
    """Return the Debian packages that are missing; the name of wal2json's has Postgres' major version in it."""
    postgres = programs.postgres()
    wanted = []
    if postgres is None:
        major = _default_major()
        wanted += [f"postgresql-{major}", f"postgresql-{major}-wal2json"]
    elif not postgres.has_wal2json:
        wanted.append(f"postgresql-{postgres.major}-wal2json")
    if programs.rabbitmq() is None:
        wanted.append("rabbitmq-server")
    return wanted


def _default_major() -> str:
    """Return the major version that this release's package `postgresql` depends on."""
    depends = subprocess.run(["apt-cache", "depends", "postgresql"], capture_output=True, text=True, check=False)
    major = re.search(r"Depends: postgresql-(\d+)", depends.stdout)
    if major is None:
        raise Missing("this machine's package sources have no package postgresql", remedy=_remedy())
    return major[1]


def _apt(command: str, *arguments: str) -> None:
    run = subprocess.run(
        ["apt-get", "-qq", "-y", "-o", f"DPkg::Lock::Timeout={_LOCK_SECONDS}", command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    if run.returncode != 0 and command != "update":  # one of several sources may be unreachable
        lines = [line for line in run.stderr.splitlines() if line.startswith("E:")]
        raise Missing(f"apt-get {command} failed: {' '.join(lines) or run.stderr[-300:]}", remedy=_remedy())


def _is_debian() -> bool:
    release = platform.freedesktop_os_release()
    return "debian" in f"{release.get('ID', '')} {release.get('ID_LIKE', '')}".split()


def _lacking() -> str:
    postgres = programs.postgres()
    names = []
    if postgres is None:
        names += ["PostgreSQL's server", "wal2json"]
    elif not postgres.has_wal2json:
        names.append(f"wal2json for PostgreSQL {postgres.major}")
    if programs.rabbitmq() is None:
        names.append("RabbitMQ")
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _remedy() -> str:
    postgres = programs.postgres()
    major = str(postgres.major) if postgres else "<version>"
    return (
        f"install them (Debian, Ubuntu, as root: apt-get install postgresql-{major} postgresql-{major}-wal2json "
        "rabbitmq-server; elsewhere the packages that contain initdb, wal2json.so and rabbitmq-server), start a Docker "
        "engine, or name servers with SANDBOX_DATABASE_URL and SANDBOX_AMQP_URL"
    )
