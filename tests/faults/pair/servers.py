"""The servers of these faults: a pair of Postgres instead of the sandbox's, whose RabbitMQ stays."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial

import psycopg

from outboxkit.sql.apply import apply
from sandbox import Isolated, Sandbox
from sandbox.lifetime.pair import Pair, pair
from sandbox.servers.backend import Extra, RabbitmqServer
from sandbox.servers.postgres import Postgres
from tests.faults.run import Run, Surroundings

COPIES_SLOTS = 17
"""The first version of PostgreSQL whose standbys keep copies of slots."""
_KEEPS_WAL = "wal_keep_size = '512MB'\n"
# https://www.postgresql.org/docs/current/logicaldecoding-explanation.html#LOGICALDECODING-REPLICATION-SLOTS-SYNCHRONIZATION
_COPIES = "hot_standby_feedback = on\nsync_replication_slots = on\n"
_EVENTS = "SELECT id::text FROM outbox.event"


class Paired:
    """The sandbox with a pair in the place of its Postgres."""

    def __init__(self, box: Sandbox, pair: Pair) -> None:
        self._box = box
        self.pair = pair

    @property
    def postgres(self) -> Postgres:
        """The server that takes writes now."""
        return self.pair.primary

    @property
    def rabbitmq(self) -> RabbitmqServer:
        """RabbitMQ."""
        return self._box.rabbitmq

    @contextmanager
    def isolated(self) -> Iterator[Isolated]:
        """Yield the pair's only database, which ends with the pair, and names that are cleared from RabbitMQ."""
        with self._box.isolated() as part:
            yield replace(part, database_url=self.pair.primary.url)


@contextmanager
def _started(box: Sandbox, *, synchronous: bool, copies: bool) -> Iterator[Surroundings]:
    with pair(Extra(_KEEPS_WAL + (_COPIES if copies else "")), slot=copies) as servers:
        with psycopg.connect(servers.primary.url, autocommit=True) as connection:
            apply(connection)
        if copies:
            servers.hold_back_streams()
        if synchronous:
            servers.make_synchronous()
        yield Paired(box, servers)


def started(
    *, synchronous: bool = True, copies: bool = False
) -> Callable[[Sandbox], AbstractContextManager[Surroundings]]:
    """Return what starts a pair for a run.

    `synchronous`: the standby has what was committed. `copies`: it keeps a copy of the relay's slot, and the stream
    waits for it.
    """
    return partial(_started, synchronous=synchronous, copies=copies)


def of(run: Run) -> Pair:
    """Return the pair that `run` is on."""
    assert isinstance(run.box, Paired), "the fault has no pair"
    return run.box.pair


def events(server: Postgres) -> set[str]:
    """Return the ids of the events that `server` has."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        return {row[0] for row in connection.execute(_EVENTS)}
