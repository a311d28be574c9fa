"""A database and a name for one test alone: the database is copied from a template, and all is removed afterwards.

RabbitMQ's virtual hosts are slow to make (by a command that starts an Erlang VM), so a test gets a prefix instead. It
asks for each name that it uses, so that those can be deleted.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
from psycopg.sql import SQL, Identifier

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import dead_letter_queue
from sandbox.servers.backend import Servers

_TERMINATE_MILLISECONDS = 10_000


@dataclass(frozen=True)
class Isolated:
    """What one test has for itself: a database, and `name` for its slot, and as prefix of exchanges and queues.

    The exchange and the queue called `name` are deleted too.
    """

    database_url: str
    amqp_url: str
    name: str
    _queues: list[str] = field(default_factory=list, repr=False, compare=False)
    _exchanges: list[str] = field(default_factory=list, repr=False, compare=False)

    def queue(self, suffix: str) -> str:
        """Return the name of a queue that is deleted afterwards, with its dead-letter queue."""
        self._queues.append(f"{self.name}.{suffix}")
        return self._queues[-1]

    def exchange(self, suffix: str) -> str:
        """Return the name of an exchange that is deleted afterwards."""
        self._exchanges.append(f"{self.name}.{suffix}")
        return self._exchanges[-1]

    async def clear_broker(self) -> None:
        """Delete the exchanges and queues; in RabbitMQ, deleting one that does not exist is not an error."""
        connection = await Connection.open(self.amqp_url, name="sandbox")
        channel = await connection.channel()
        for queue in (self.name, *self._queues):
            await connection.call(channel.queue_delete, queue)
            await connection.call(channel.queue_delete, dead_letter_queue(queue))
        for exchange in (self.name, *self._exchanges):
            await connection.call(channel.exchange_delete, exchange)
        await connection.close()


class Isolation:
    """Makes isolated databases on `servers`; `schema` gets the URL of their template, and applies the schema to it."""

    def __init__(self, servers: Servers, schema: Callable[[str], None] | None) -> None:
        self._servers = servers
        self._schema = schema
        self._template: str | None = None

    @contextmanager
    def isolated(self) -> Iterator[Isolated]:
        """Yield a new isolated part; afterwards remove its slots, sessions, database, exchanges and queues."""
        isolated = self.create()
        try:
            yield isolated
        finally:
            self._drop(isolated.name)
            asyncio.run(isolated.clear_broker())

    def create(self) -> Isolated:
        """Return a new isolated part that stays until the sandbox ends."""
        if self._template is None:
            self._template = self._make_template()
        name = f"t{secrets.token_hex(4)}"
        self._administer("CREATE DATABASE {} TEMPLATE {}", name, self._template)
        return Isolated(_url(self._servers.database_url, name), self._servers.amqp_url, name)

    def close(self) -> None:
        """Drop the template."""
        if self._template is not None:
            self._administer("DROP DATABASE IF EXISTS {} WITH (FORCE)", self._template)
            self._template = None

    def _make_template(self) -> str:
        name = f"template_{secrets.token_hex(4)}"
        self._administer("CREATE DATABASE {}", name)
        if self._schema is not None:
            self._schema(_url(self._servers.database_url, name))
        return name

    def _drop(self, name: str) -> None:
        """Drop the database, after its sessions and slots; new sessions are refused from the start."""
        self._administer("ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
        with psycopg.connect(self._servers.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(active_pid, %s) FROM pg_replication_slots"
                " WHERE database = %s AND active_pid IS NOT NULL",
                [_TERMINATE_MILLISECONDS, name],
            )
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", [name]
            )
        self._administer("DROP DATABASE {} WITH (FORCE)", name)

    def _administer(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self._servers.database_url, autocommit=True) as connection:
            connection.execute(SQL(statement).format(*map(Identifier, names)))


def _url(url: str, database: str) -> str:
    return urlsplit(url)._replace(path=f"/{database}").geturl()
