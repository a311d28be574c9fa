"""On what a figure was measured: the machine, its load before, the versions, the relay's settings."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from sandbox import Sandbox
from sandbox.servers import amqp

_AMQP_PORT = 5672


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a reader needs to compare figures."""

    processor: str
    cores: int
    load_before: tuple[float, float, float]
    """Load averages over 1, 5 and 15 minutes, before the servers were started."""
    kernel: str
    python: str
    postgres: str
    rabbitmq: str
    psycopg: str
    pika: str
    settings: dict[str, str]
    """The relay's, as far as they are not its defaults; without names and URLs."""


def load() -> tuple[float, float, float]:
    """Return the machine's load averages now."""
    return os.getloadavg()


def look(box: Sandbox, *, load_before: tuple[float, float, float], window: int) -> Surroundings:
    """Describe the machine and the servers of `box`."""
    with psycopg.connect(box.servers.database_url) as connection:
        postgres = connection.info.parameter_status("server_version")
    broker = urlsplit(box.servers.amqp_url)
    return Surroundings(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        load_before=load_before,
        kernel=platform.release(),
        python=platform.python_version(),
        postgres=postgres or "unknown",
        rabbitmq=amqp.version(broker.hostname or "127.0.0.1", broker.port or _AMQP_PORT) or "unknown",
        psycopg=f"{version('psycopg')} ({psycopg.pq.__impl__})",
        pika=version("pika"),
        settings={"RELAY_MAX_IN_FLIGHT": str(window)},
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
