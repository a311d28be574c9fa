"""The stage of a benchmark: its own database with the schema, an exchange, and the programs that use them."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from bench.instruments.metrics import Endpoint
from bench.load import ceiling, programs, queues, wire
from bench.load.programs import Program
from outboxkit import sql
from outboxkit.amqp.format import NAMES
from sandbox import Isolated, Sandbox
from sandbox.machine import ports, processes

RELAY = "relay"
_SETUP_SECONDS = 60.0


@dataclass(frozen=True)
class Publisher:
    """A running relay or ceiling."""

    program: Program
    endpoint: Endpoint


@dataclass(frozen=True)
class Counters:
    """What the server has counted; the columns of sql/examples/bench_counters.sql."""

    wal_bytes: int
    dead_rows: int
    transactions: int

    def __sub__(self, before: "Counters") -> "Counters":
        return Counters(
            self.wal_bytes - before.wal_bytes,
            self.dead_rows - before.dead_rows,
            self.transactions - before.transactions,
        )


class Stage:
    """One database, set up for a relay; make it with `stage`."""

    def __init__(self, box: Sandbox, isolated: Isolated, *, window: int) -> None:
        self.box = box
        self.window = window
        self.place = box.directory / "bench"
        self.database_url = isolated.database_url
        self.amqp_url = isolated.amqp_url
        self.exchange = isolated.name
        self._isolated = isolated
        self._origin = f"{isolated.name}_origin"
        self._snapshot = ""
        """What was committed at the end of `set_up`."""

    def settings(self) -> dict[str, str]:
        """Return the relay's settings."""
        return {
            "RELAY_DATABASE_URL": self.database_url,
            "RELAY_AMQP_URL": self.amqp_url,
            "RELAY_NAME": RELAY,
            "RELAY_SLOT": self.exchange,
            "RELAY_EXCHANGE": self.exchange,
            "RELAY_MAX_IN_FLIGHT": str(self.window),
        }

    def set_up(self) -> None:
        """Make the schema, the exchange, and the origin slot, of which each run gets a copy."""
        self._call("relay", "setup", RELAY_SLOT=self._origin)
        self.script("bench")
        self.script("bench_tasks")
        ((self._snapshot,),) = self.execute("bench_snapshot")

    def prepare(self, settings: Mapping[str, str], *extras: str) -> None:
        """Make the schema, the exchange, and what a relay with `settings` starts from; `extras` are setup's options."""
        self.set_up_relay(settings, *extras)
        self.script("bench")

    def set_up_relay(self, settings: Mapping[str, str], *extras: str) -> None:
        """Make what one more relay with `settings` starts from, with setup's options `extras`."""
        self._call("relay", "setup", *extras, **settings)

    def rewind(self, *extras: str) -> None:
        """Let the next relay start with the first event committed after `set_up`; `extras` are options of setup."""
        self.execute("bench_rewind", origin=self._origin, slot=self.exchange)
        self._call("relay", "setup", *extras)

    def poll_again(self) -> None:
        """Let the next relay, after `rewind`, poll from the first event committed after `set_up`."""
        self.execute("bench_poll_again", snapshot=self._snapshot)

    def write_backlog(self, events: int, *, per_transaction: int) -> None:
        """Commit `events` events fast: the WAL is flushed at the end, not for each transaction."""
        with self.connect(options="-c synchronous_commit=off") as connection:
            connection.execute(sql.example("bench_backlog"), {"events": events, "per_transaction": per_transaction})
        self.vacuum()

    def vacuum(self, *, checkpoint: bool = True) -> None:
        """Vacuum and checkpoint now, so that Postgres does neither in the middle of a run."""
        with self.connect() as connection:
            connection.execute("VACUUM ANALYZE outbox.event")
            connection.execute("VACUUM ANALYZE tasks.task")
            if checkpoint:
                with suppress(psycopg.errors.InsufficientPrivilege):  # on a server of somebody else
                    connection.execute("CHECKPOINT")

    def committed(self) -> list[str]:
        """Return the ids of all committed events."""
        return [str(row[0]) for row in self.execute("bench_ids")]

    def encode(self, frames: Path) -> None:
        """Write to `frames` the messages that the relay publishes for the committed events."""
        ceiling.Encoded.write(frames, [self._message(*row) for row in self.execute("bench_events")])

    @contextmanager
    def queue(self, suffix: str, kind: queues.Kind) -> Iterator[str]:
        """Declare a queue of `kind` that gets every message, for the block; yield its name."""
        name = self._isolated.queue(suffix)
        asyncio.run(queues.declare(self.amqp_url, name, kind, exchange=self.exchange))
        try:
            yield name
        finally:
            asyncio.run(queues.delete(self.amqp_url, name))

    def new_queue(self, suffix: str) -> str:
        """Return the name of a queue that is deleted, with its dead-letter queue, when the stage ends."""
        return self._isolated.queue(suffix)

    def new_exchange(self, suffix: str) -> str:
        """Return the name of an exchange that is deleted when the stage ends."""
        return self._isolated.exchange(suffix)

    @contextmanager
    def relay(self, settings: Mapping[str, str] = {}, *, name: str = "") -> Iterator[Publisher]:
        """Run a relay for the block; `settings` win over the stage's own. One of several has a directory by `name`."""
        address = free_address()
        environment = {**self.settings(), **settings, "RELAY_HTTP_ADDRESS": address}
        with (
            programs.command(self.place / name, "relay", "run", environment=environment) as program,
            closing(Endpoint(address)) as endpoint,
        ):
            yield Publisher(program, endpoint)

    @contextmanager
    def ceiling(self, frames: Path) -> Iterator[Publisher]:
        """Run the ceiling for the block, with the messages in `frames`."""
        address = free_address()
        arguments = {"amqp_url": self.amqp_url, "frames": str(frames), "window": self.window, "http_address": address}
        with (
            programs.module(self.place, "bench.load.ceiling", arguments) as program,
            closing(Endpoint(address)) as endpoint,
        ):
            yield Publisher(program, endpoint)

    @contextmanager
    def even_load(self, rate: int, events: int, task: str | None = None) -> Iterator[Program]:
        """Run the writer of an even load for the block: of events, or of tasks of type `task`."""
        arguments = {"database_url": self.database_url, "rate": rate, "events": events, "task": task}
        with programs.module(self.place, "bench.load.evenly", arguments) as program:
            yield program

    def broker_pids(self) -> list[int]:
        """Return the processes of RabbitMQ's Erlang VM; empty when it runs elsewhere."""
        found = processes.belonging(self.box.directory / "rabbitmq")
        return [process.pid for process in found if process.program.startswith("beam")]

    def postgres_pids(self) -> list[int]:
        """Return the processes of Postgres; empty when it runs elsewhere."""
        return [process.pid for process in processes.belonging(self.box.directory / "postgres")]

    def counters(self) -> Counters:
        """Return what the server has counted."""
        (row,) = self.execute("bench_counters")
        return Counters(*row)

    def execute(self, name: str, **parameters: object) -> list[tuple[Any, ...]]:
        """Run the script `name` and return its rows."""
        with self.connect() as connection:
            cursor = connection.execute(sql.example(name), parameters)
            return cursor.fetchall() if cursor.description else []

    def script(self, name: str) -> None:
        """Run the script `name`, of several statements."""
        with self.connect() as connection:
            connection.execute(sql.example(name))

    def connect(self, options: LiteralString = "") -> psycopg.Connection[tuple[Any, ...]]:
        """Connect to the database in autocommit mode."""
        return psycopg.connect(self.database_url, autocommit=True, options=options)

    def _call(self, *words: str, **settings: str) -> None:
        with programs.command(self.place, *words, environment={**self.settings(), **settings}) as program:
            program.finish(seconds=_SETUP_SECONDS)

    def _message(  # noqa: PLR0913, PLR0917 - the columns of bench_events.sql
        self, event_id: str, seq: int, aggregate_type: str, aggregate_id: str, version: int, kind: str, payload: str,
        created_at: int,
    ) -> bytes:  # fmt: skip
        return wire.encode(
            exchange=self.exchange,
            routing_key=f"{aggregate_type}.{kind}",
            message_id=event_id,
            app_id=RELAY,
            kind=kind,
            timestamp=created_at,
            headers={
                NAMES.aggregate_type: aggregate_type,
                NAMES.aggregate_id: aggregate_id,
                NAMES.aggregate_version: version,
                NAMES.seq: seq,
            },
            body=payload.encode(),
        )


@contextmanager
def stage(box: Sandbox, *, window: int) -> Iterator[Stage]:
    """Set up a stage for the block; `window` is how many messages may be unconfirmed."""
    with box.isolated() as isolated:
        made = Stage(box, isolated, window=window)
        made.set_up()
        yield made


@contextmanager
def bare_stage(box: Sandbox, *, window: int) -> Iterator[Stage]:
    """Yield a stage on which nothing is set up: `prepare` it."""
    with box.isolated() as isolated:
        yield Stage(box, isolated, window=window)


def free_address() -> str:
    """Return an address for an HTTP endpoint that nobody uses now."""
    return f"127.0.0.1:{ports.free(1)[0]}"
