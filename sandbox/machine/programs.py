"""Finds the server programs on this machine. It starts nothing and installs nothing."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Debian and Ubuntu; PGDG's RPMs; openSUSE; Gentoo; a build from source; Fedora and Arch (on the PATH).
_POSTGRES_PLACES = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/lib/postgresql*/bin",
    "usr/lib64/postgresql-*/bin",
    "usr/local/pgsql/bin",
    "usr/local/bin",
    "usr/bin",
)
_POSTGRES_PROGRAMS = ("postgres", "initdb", "pg_ctl")
# The script itself comes first: a wrapper on the PATH changes the user, and with it the environment.
_RABBITMQ_PLACES = "/usr/lib/rabbitmq/bin:/usr/local/lib/rabbitmq/bin:/opt/rabbitmq/sbin"
_SYSTEM_PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Postgres:
    """A Postgres installation: the directory of its programs, its major version, whether it has wal2json."""

    directory: Path
    major: int
    has_wal2json: bool


def postgres() -> Postgres | None:
    """Return the newest Postgres that has wal2json, else the newest; None when there is no Postgres."""
    found = [_describe(directory) for directory in _postgres_directories()]
    return max(found, key=lambda one: (one.has_wal2json, one.major), default=None)


def rabbitmq() -> Path | None:
    """Return RabbitMQ's start script; None when it or Erlang is missing."""
    if shutil.which("erl", path=search_path()) is None:
        return None
    script = shutil.which("rabbitmq-server", path=f"{_RABBITMQ_PLACES}:{search_path()}")
    return Path(script) if script else None


def redis() -> Path | None:
    """Return `redis-server`; None when it is missing."""
    program = shutil.which("redis-server", path=search_path())
    return Path(program) if program else None


def erlang_libraries() -> Path:
    """Return the directory of Erlang's own applications."""
    return Path(shutil.which("erl", path=search_path()) or "/usr/lib/erlang/bin/erl").resolve().parent.parent / "lib"


def epmd() -> Path:
    """Return Erlang's port mapper, which is beside its other programs."""
    return erlang_libraries().parent / "bin" / "epmd"


def search_path() -> str:
    """Return the PATH with the system's directories, which a user's PATH may lack."""
    return f"{os.environ.get('PATH', '')}:{_SYSTEM_PLACES}"


def _postgres_directories() -> Iterator[Path]:
    places = [path for pattern in _POSTGRES_PLACES for path in Path("/").glob(pattern)]
    places += [Path(entry) for entry in os.environ.get("PATH", "").split(":") if entry]
    for directory in dict.fromkeys(places):
        if all(os.access(directory / program, os.X_OK) for program in _POSTGRES_PROGRAMS):
            yield directory


def _describe(directory: Path) -> Postgres:
    version = _output(directory / "postgres", "--version")
    major = re.search(r"\(PostgreSQL\) (\d+)", version)
    return Postgres(directory, int(major[1]) if major else 0, has_wal2json=_has_wal2json(directory))


def _has_wal2json(directory: Path) -> bool:
    libraries = [directory.parent / "lib", directory.parent / "lib/postgresql", directory.parent / "lib64/pgsql"]
    if (directory / "pg_config").exists():
        libraries.append(Path(_output(directory / "pg_config", "--pkglibdir").strip()))
    return any((library / "wal2json.so").exists() for library in libraries)


def _output(program: Path, option: str) -> str:
    return subprocess.run([program, option], capture_output=True, text=True, check=False).stdout
