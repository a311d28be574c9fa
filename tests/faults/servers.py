"""The servers of the campaign: a Postgres and a RabbitMQ and, from the first fault that needs it on, a cluster."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import psycopg

import sandbox
from outboxkit.sql.apply import apply
from sandbox import Sandbox
from sandbox.lifetime import private
from sandbox.lifetime.isolation import Isolation
from sandbox.servers.backend import Extra
from tests.faults.run import Fault

# How soon a frozen node counts as lost, so that a freeze is shorter or longer than that. It is 60 by default
# (https://www.rabbitmq.com/docs/nettick).
_TICK = Extra("net_ticktime = 10\n")


class Boxes:
    """What each fault runs on."""

    def __init__(self, box: Sandbox, stack: ExitStack) -> None:
        self._box = box
        self._stack = stack
        self._clustered: Sandbox | None = None

    def of(self, fault: Fault) -> Sandbox:
        """Return the servers for `fault`; a cluster is started, if there is none."""
        if not fault.cluster:
            return self._box
        if self._clustered is None:
            self._clustered = self._stack.enter_context(clustered(self._box))
        return self._clustered


@contextmanager
def boxes() -> Iterator[Boxes]:
    """Start a Postgres and a RabbitMQ, and end everything at the end of the block."""
    with sandbox.start(schema=_schema) as box, ExitStack() as stack:
        yield Boxes(box, stack)


@contextmanager
def clustered(box: Sandbox) -> Iterator[Sandbox]:
    """Yield the Postgres of `box` with a RabbitMQ cluster, which is started for the block."""
    with private.cluster(_TICK) as cluster:
        servers = replace(box.servers, amqp_url=cluster.url)
        isolation = Isolation(servers, _schema)
        try:
            yield replace(box, servers=servers, rabbitmq=cluster, isolation=isolation)
        finally:
            isolation.close()


def _schema(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        apply(connection)
