"""A database, writers whose transactions end as a test says, and relays that record what they would publish.

A test that shows what a condition is for puts another class in the place of one part of the relay, which lacks the
condition, and plays the same scene.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, LiteralString, NamedTuple, Self

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from outboxkit import sql
from relay.operating.connection import connected
from relay.operating.setup.steps import begin_polling
from relay.settings import RelaySettings
from sandbox import Isolated
from sandbox.machine.waiting import until
from sandbox.servers.postgres import Postgres
from tests.integration.relay.sources.handover.recorder import Made, Published, Recorder
from tests.integration.relay.sources.handover.writer import PUBLISH, SECONDS, Writer


class Verdict(NamedTuple):
    """What is wrong in the end; names of events."""

    missing: list[str]
    doubled: list[str]
    ghosts: list[str]


RIGHT = Verdict([], [], [])
_AS_IT_IS = Made()


@dataclass
class Scene:
    """One test's database, `isolated`, on `server`; its writers and relays end with the block."""

    server: Postgres
    isolated: Isolated
    published: list[Published] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        """The database."""
        return self.isolated.database_url

    @property
    def slot(self) -> str:
        """The name of the relay's slot."""
        return self.isolated.name

    def settings(self, **changes: object) -> RelaySettings:
        """Return the settings of a relay."""
        return RelaySettings.model_validate(
            {"database_url": self.url, "amqp_url": self.isolated.amqp_url, "slot": self.slot, **changes}
        )

    # The application.

    def writer(self) -> Writer:
        """Return a session of the application."""
        writer = Writer(self.url)
        self._stack.callback(writer.close)
        return writer

    def write(self, *names: str) -> None:
        """Commit an event for each of `names`, each in a transaction of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name in names:
                connection.execute(PUBLISH, [name])

    def execute(self, statement: LiteralString, *parameters: object) -> list[Any]:
        """Run a statement in a session of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters or None)  # without any, a % is a %
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: LiteralString, *parameters: object) -> Any:  # noqa: ANN401 - one column of any type
        """Return one value."""
        return self.execute(statement, *parameters)[0][0]

    def when(self, statement: LiteralString, *parameters: object, what: str) -> None:
        """Wait until a query returns a row."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            until(lambda: connection.execute(statement, parameters).rowcount, what=what, seconds=SECONDS, every=0.02)

    # The relay.

    def begin(self) -> None:
        """Store a first position, as `relay setup` does before it makes a slot."""
        settings = self.settings()
        with connected(settings, "setup") as connection:
            begin_polling(connection, settings)

    def make_slot(self) -> None:
        """Make the slot, as `relay setup` does."""
        self.execute("SELECT pg_create_logical_replication_slot(%s, 'wal2json')", self.slot)

    def drop_slot(self) -> None:
        """Drop the slot, once the server process of a stream that has ended has left it."""
        self.when(
            "SELECT FROM pg_replication_slots WHERE slot_name = %s AND active_pid IS NULL", self.slot,
            what="the slot is free",
        )  # fmt: skip
        self.execute("SELECT pg_drop_replication_slot(%s)", self.slot)

    @contextmanager
    def relay(self, made: Made = _AS_IT_IS) -> Iterator[Recorder]:
        """Run a relay; at the end of the block it dies without a last word."""
        relay = Recorder(self.settings(source=made.source, poll_interval=0.05), made, self.published)
        relay.start()
        try:
            yield relay
        finally:
            relay.kill()

    def reads(self, mode: str) -> None:
        """Wait until the stored row says that the relay reads `mode`."""
        self.when("SELECT FROM relay.checkpoint WHERE mode = %s", mode, what=f"the relay reads {mode}")

    def ask(self, mode: str) -> None:
        """Ask for a source as `relay switch` does, and wait for it."""
        self.execute("UPDATE relay.checkpoint SET wanted = %s", mode)
        self.reads(mode)

    def mode(self) -> str:
        """Return the source that the stored row names."""
        return str(self.value("SELECT mode FROM relay.checkpoint"))

    def streamed(self, transaction: int) -> bool:
        """Return whether the stored row says that `transaction` was streamed, and is not seen yet."""
        return bool(self.value("SELECT streamed @> %s::bigint FROM relay.checkpoint", transaction))

    def has(self, *names: str) -> None:
        """Wait until `names` are published."""
        until(
            lambda: {*names} <= {each.name for each in self.published},
            what=f"{names} are published", seconds=SECONDS, every=0.02,
        )  # fmt: skip

    def fenced(self) -> None:
        """Wait until a fence that is written from now on is confirmed and stored."""
        seen = self.value("SELECT pg_current_xact_id()::text::bigint")
        self.when(
            "SELECT FROM relay.checkpoint WHERE pg_snapshot_xmax(snapshot)::text::bigint > %s", seen,
            what="a fence is stored",
        )  # fmt: skip

    def stored(self) -> None:
        """Wait until the stored snapshot sees every event that is committed."""
        self.when(
            "SELECT FROM relay.checkpoint"
            " WHERE (SELECT bool_and(pg_visible_in_snapshot(tx, snapshot)) FROM outbox.event)", what="all is stored",
        )  # fmt: skip

    def verdict(self) -> Verdict:
        """Compare what was published with what the table has."""
        committed = [row[0] for row in self.execute("SELECT aggregate_id FROM outbox.event")]
        found = Counter(each.name for each in self.published)
        return Verdict(
            sorted(set(committed) - set(found)),
            sorted(name for name, times in found.items() if times > 1),
            sorted(set(found) - set(committed)),
        )

    def waits_for(self, xid: int) -> None:
        """Wait until the making of a slot waits for the end of transaction `xid`."""
        self.when(
            "SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted AND transactionid::text = %s",
            str(xid % 2**32), what=f"the new slot waits for transaction {xid}",
        )  # fmt: skip

    def made(self) -> None:
        """Wait until the slot is made, and its maker has left it."""
        self.when(
            "SELECT FROM pg_replication_slots"
            " WHERE slot_name = %s AND confirmed_flush_lsn IS NOT NULL AND active_pid IS NULL", self.slot,
            what="the slot is made",
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.start()
        with suppress(psycopg.Error):  # those of a server that was stopped
            self._stack.close()
        for (gid,) in self.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"):
            self.execute(f"ROLLBACK PREPARED '{gid}'")
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            # All of a relay that was killed, one too that was just about to make a slot.
            connection.execute(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = %s", [self.isolated.name]
            )
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
                [self.isolated.name],
            )
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(self.isolated.name)))


def names(published: Sequence[Published], mode: str) -> list[str]:
    """Return what was published from one source."""
    return [each.name for each in published if each.mode == mode]


def without_the_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a poll's snapshot before what it sees is flushed."""
    query = sql.query
    monkeypatch.setattr(
        "relay.sources.polling.reading.sql.query",
        lambda name: "SELECT %(written)s::text" if name == "poll_flush" else query(name),
    )
