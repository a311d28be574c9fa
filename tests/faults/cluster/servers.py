"""The servers of these faults: a RabbitMQ cluster instead of the sandbox's RabbitMQ; the sandbox's Postgres stays."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox import Isolated, Sandbox
from sandbox.lifetime import private
from sandbox.servers.backend import Extra, PostgresServer
from sandbox.servers.cluster import Cluster
from tests.faults.run import Run

# Seconds after which a frozen node counts as lost, a quarter more or less; 60 by default, longer than any freeze here.
# https://www.rabbitmq.com/docs/nettick
_TICK = Extra("net_ticktime = 10\n")


@dataclass(frozen=True)
class Clustered:
    """The sandbox with a cluster in the place of its RabbitMQ."""

    rabbitmq: Cluster
    _box: Sandbox

    @property
    def postgres(self) -> PostgresServer:
        """The sandbox's Postgres."""
        return self._box.postgres

    @contextmanager
    def isolated(self) -> Iterator[Isolated]:
        """Yield a database of the sandbox, and names that end with the cluster."""
        with self._box.isolated() as part:
            yield replace(part, amqp_url=self.rabbitmq.url)


@contextmanager
def started(box: Sandbox) -> Iterator[Clustered]:
    """Start a cluster for a run."""
    with private.cluster(_TICK) as cluster:
        yield Clustered(cluster, box)


def of(run: Run) -> Cluster:
    """Return the cluster that `run` is on."""
    assert isinstance(run.box, Clustered), "the fault has no cluster"
    return run.box.rabbitmq


@contextmanager
def logs_kept(cluster: Cluster, directory: Path) -> Iterator[None]:
    """Copy every node's log to `directory` at the end: the cluster's own directory ends with it."""
    try:
        yield
    finally:
        for node in cluster.nodes:
            if node.log.exists():
                shutil.copyfile(node.log, directory / f"{node.name}.log")
