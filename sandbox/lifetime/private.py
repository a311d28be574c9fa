"""One server alone, or with its own configuration, or a cluster, for a test of that; run by this machine's programs."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.lifetime.starting import owned_directory
from sandbox.machine import packages
from sandbox.servers import record
from sandbox.servers.backend import Extra
from sandbox.servers.cluster import PORTS, Cluster
from sandbox.servers.local import KIND
from sandbox.servers.postgres import Postgres
from sandbox.servers.rabbitmq import Ports, Rabbitmq
from sandbox.servers.redis import Redis


@contextmanager
def postgres(extra: Extra) -> Iterator[Postgres]:
    """Start a Postgres with `extra` for the block."""
    with _postgres(secrets.token_hex(12)) as server:
        server.create(extra)
        server.start()
        yield server


@contextmanager
def standby(primary: Postgres, *, slot: bool = False) -> Iterator[Postgres]:
    """Start a standby of `primary`, which runs, for the block; with `slot`, a physical slot keeps WAL for it."""
    with _postgres(primary.password) as server:
        server.follow(primary, slot=slot)
        server.start()
        yield server


@contextmanager
def _postgres(password: str) -> Iterator[Postgres]:
    programs = packages.require()
    with owned_directory() as directory:
        values = record.reserve(directory, "postgres_port", kind=KIND)
        yield Postgres(
            directory / "postgres", programs=programs.postgres, port=values["postgres_port"], password=password
        )


@contextmanager
def rabbitmq(extra: Extra) -> Iterator[Rabbitmq]:
    """Start a RabbitMQ with `extra` for the block."""
    programs = packages.require()
    with owned_directory() as directory:
        values = record.reserve(directory, "amqp_port", "distribution_port", "epmd_port", kind=KIND)
        server = Rabbitmq(
            directory / "rabbitmq",
            script=programs.rabbitmq,
            ports=Ports(values["amqp_port"], values["distribution_port"], values["epmd_port"]),
            password=secrets.token_hex(12),
        )
        server.create(extra)
        server.start()
        yield server


@contextmanager
def cluster(extra: Extra) -> Iterator[Cluster]:
    """Start a RabbitMQ cluster, with `extra` for each node, for the block."""
    programs = packages.require()
    with owned_directory() as directory:
        script, password = str(programs.rabbitmq), secrets.token_hex(12)
        values = record.reserve(directory, *PORTS, kind=KIND, cluster_script=script, cluster_password=password)
        servers = Cluster.recorded(directory / "cluster", values)
        servers.create(extra)
        servers.start()
        yield servers


@contextmanager
def redis() -> Iterator[Redis]:
    """Start a Redis for the block."""
    program = packages.redis()
    with owned_directory() as directory:
        values = record.reserve(directory, "redis_port", kind=KIND)
        password = secrets.token_hex(12)
        server = Redis(directory / "redis", program=program, port=values["redis_port"], password=password)
        server.create()
        server.start()
        yield server
