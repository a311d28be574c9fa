"""The surroundings of a measurement: the machine, its load before, versions, the relay's settings."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psycopg

from sandbox import Sandbox
from sandbox.servers import versions


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a reader needs to compare figures with others."""

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
    """The relay's settings other than defaults, names and URLs."""


def load() -> tuple[float, float, float]:
    """Return the machine's load averages now."""
    return os.getloadavg()


def load_before() -> str:
    """Return the load averages as a report has them."""
    return " ".join(f"{value:.2f}" for value in load())


def look(box: Sandbox, *, load_before: tuple[float, float, float], window: int) -> Surroundings:
    """Describe the machine and the servers of `box`."""
    postgres, rabbitmq = versions.read(box.servers)
    return Surroundings(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        load_before=load_before,
        kernel=platform.release(),
        python=platform.python_version(),
        postgres=postgres or "unknown",
        rabbitmq=rabbitmq or "unknown",
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
