"""What a kept sandbox has beside its two servers where it was asked for: a Redis, a RabbitMQ cluster.

Both are run by this machine's programs, also where the servers are containers. What was asked for once stays until
`sandbox down`.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from sandbox.machine import directories, packages
from sandbox.servers import record
from sandbox.servers.cluster import PORTS, Cluster
from sandbox.servers.redis import Redis


@dataclass(frozen=True)
class Companions:
    """Those that were asked for, running or not."""

    redis: Redis | None
    cluster: Cluster | None

    def versions(self) -> dict[str, str | None]:
        """Return the version of each; None for one that does not answer."""
        found: dict[str, Redis | Cluster | None] = {"redis": self.redis, "cluster": self.cluster}
        return {name: each.version() for name, each in found.items() if each is not None}

    def environment(self) -> dict[str, str]:
        """Return the settings by which the project's commands use them."""
        urls: dict[str, str] = {}
        if self.redis is not None:
            urls["CONSUMERS_REDIS_URL"] = self.redis.url
        if self.cluster is not None:
            urls["RELAY_AMQP_URL"] = urls["CONSUMERS_AMQP_URL"] = self.cluster.url
        return urls


def find(directory: Path) -> Companions:
    """Return the companions that the record of `directory` names."""
    values, home = record.read(directory), directory / directories.COMPANIONS
    redis: Redis | None = None
    cluster: Cluster | None = None
    if "redis_port" in values:
        program, port, password = (values[f"redis_{name}"] for name in ("program", "port", "password"))
        redis = Redis(home / "redis", program=Path(program), port=port, password=password)
    if PORTS[0] in values:
        cluster = Cluster.recorded(home / "cluster", values)
    return Companions(redis, cluster)


def ask(directory: Path, *, redis: bool, cluster: bool) -> None:
    """Record what is asked for, unless it is recorded; `start` starts it. Missing programs are installed."""
    found = find(directory)
    if redis and found.redis is None:
        program = str(packages.redis())
        record.reserve(directory, "redis_port", redis_program=program, redis_password=secrets.token_hex(12))
    if cluster and found.cluster is None:
        script = str(packages.require().rabbitmq)
        record.reserve(directory, *PORTS, cluster_script=script, cluster_password=secrets.token_hex(12))


def start(directory: Path) -> bool:
    """Start those that do not run; returns whether that was needed."""
    found = find(directory)
    needed = None in found.versions().values()
    if found.redis is not None and found.redis.version() is None:
        found.redis.create()
        found.redis.start()
    if found.cluster is not None and found.cluster.version() is None:
        if not found.cluster.complete:
            found.cluster.create()
        found.cluster.start()
    return needed
