"""A database, a broker and `consumers run` as real processes; the test itself does what the relay would."""

import asyncio
import http.client
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, LiteralString, TypeVar
from uuid import UUID, uuid4

import pika
import psycopg
from pika.channel import Channel
from pika.frame import Method
from pika.spec import Basic

from outboxkit import sql
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.errors import ChannelRefused
from outboxkit.amqp.format import TASK_PENDING
from outboxkit.amqp.topology import dead_letter_queue, declare_exchange
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.consumers.task_handlers import GATE
from tests.support.commands import Command

R = TypeVar("R")


class Stage:
    """What a test has: rows, messages, and consumers."""

    def __init__(self, isolated: Isolated, directory: Path, stack: ExitStack) -> None:
        self.isolated = isolated
        self.queue = isolated.queue("tasks")
        self.exchange = isolated.name
        self.database = stack.enter_context(psycopg.connect(isolated.database_url, autocommit=True))
        self.database.execute(sql.example("effect"))
        self.settings = {
            "CONSUMERS_DATABASE_URL": isolated.database_url,
            "CONSUMERS_AMQP_URL": isolated.amqp_url,
            "CONSUMERS_EXCHANGE": self.exchange,
            "CONSUMERS_QUEUE": self.queue,
            "CONSUMERS_HANDLERS": "tests.integration.consumers.task_handlers",
            "CONSUMERS_HTTP_ADDRESS": "127.0.0.1:0",
        }
        self._directory = directory
        self._stack = stack
        self._sequence = 0
        self.broker(lambda connection, channel: declare_exchange(connection, channel, self.exchange))

    def command(self, *arguments: str, **settings: str) -> Command:
        """Start `consumers` with `arguments`; it ends with the test."""
        changed = {f"CONSUMERS_{name.upper()}": value for name, value in settings.items()}
        command = Command(uuid4().hex, ["consumers", *arguments], {**self.settings, **changed}, self._directory)
        self._stack.callback(command.end)
        return command

    def consume(self, **settings: str) -> Command:
        """Start `consumers run`, and return when it consumes."""
        command = self.command("run", **settings)
        command.logged("consuming")
        return command

    def broker(self, use: Callable[[Connection, Channel], Awaitable[R]]) -> R:
        """Run `use` on a connection and a channel of the test's own."""

        async def run() -> R:
            connection = await Connection.open(self.isolated.amqp_url, name="test")
            try:
                return await use(connection, await connection.channel())
            finally:
                await connection.close()

        return asyncio.run(run())

    def publish(self, *headers: Mapping[str, Any], body: bytes = b"{}") -> None:
        """Publish one message of a pending task for each of `headers`."""

        async def use(connection: Connection, channel: Channel) -> None:
            # A quorum queue may drop what an unconfirming channel sent just before it closed.
            unconfirmed = set(range(1, len(headers) + 1))
            confirmed = asyncio.Event()

            def on_confirm(frame: "Method[Any]") -> None:
                assert isinstance(frame.method, Basic.Ack)
                tag = frame.method.delivery_tag
                unconfirmed.difference_update(range(1, tag + 1) if frame.method.multiple else [tag])
                if not unconfirmed:
                    confirmed.set()

            await connection.call(channel.confirm_delivery, on_confirm)
            for each in headers:
                properties = pika.BasicProperties(headers=dict(each), delivery_mode=2, message_id=str(uuid4()))
                channel.basic_publish(self.exchange, TASK_PENDING, body, properties)
            async with asyncio.timeout(30):
                await confirmed.wait()

        self.broker(use)

    def relay(self, *, copies: int = 1) -> int:
        """Publish the events that were not published yet, each `copies` times; return how many there were."""
        events = self.rows(
            "SELECT seq, aggregate_id, aggregate_version, headers FROM outbox.event WHERE seq > %s ORDER BY seq",
            self._sequence,
        )
        self._sequence = max([self._sequence, *(seq for seq, *_ in events)])
        if events:
            self.publish(
                *[own | header(task_id, version) for _, task_id, version, own in events for _ in range(copies)]
            )
        return len(events)

    def rows(self, statement: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        """Return what `statement` returns."""
        return self.database.execute(statement, parameters).fetchall()

    def submit(self, type_: str, count: int = 1) -> list[UUID]:
        """Commit tasks with their events."""
        return [
            task_id
            for (task_id,) in self.rows(
                """SELECT tasks.submit(%s, jsonb_build_object('n', n)) FROM generate_series(1, %s) AS n""", type_, count
            )
        ]

    def statuses(self) -> dict[str, int]:
        """Return how many tasks are in each status."""
        return dict(self.rows("SELECT status, count(*) FROM tasks.task GROUP BY status"))

    def reaches(self, **statuses: int) -> None:
        """Wait until the tasks are in exactly these statuses."""
        try:
            until(lambda: self.statuses() == statuses, what=f"tasks reach {statuses}", seconds=30)
        except Exception as error:
            raise AssertionError(f"they are in {self.statuses()}") from error

    def task(self, task_id: UUID) -> tuple[Any, ...]:
        """Return a task's status, version, attempts, result and last error."""
        (row,) = self.rows(
            "SELECT status, version, attempts, result, last_error FROM tasks.task WHERE id = %s", task_id
        )
        return row

    def effects(self) -> list[UUID]:
        """Return the task of each effect."""
        return [task_id for (task_id,) in self.rows("SELECT task_id FROM demo.effect")]

    def waiting_at_gate(self, count: int, *, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until `count` handlers wait for the gate, and do `meanwhile` at each look."""
        statement: LiteralString = """
            SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
            WHERE locktype = 'advisory' AND NOT granted AND datname = current_database() AND objid = %s
        """

        def are_there() -> bool:
            meanwhile()
            return self.rows(statement, GATE) == [(count,)]

        until(are_there, what=f"{count} handlers at the gate", seconds=30)

    @contextmanager
    def gate(self) -> Iterator[Callable[[], None]]:
        """Hold the handlers that ask for the gate; yields what lets them pass before the block ends."""
        with psycopg.connect(self.isolated.database_url, autocommit=True) as holder:
            holder.execute("SELECT pg_advisory_lock(%s)", [GATE])
            yield holder.close

    def ready(self, queue: str) -> int | None:
        """Return how many messages wait in `queue`; None when there is none."""

        async def use(connection: Connection, channel: Channel) -> int | None:
            try:
                return int((await connection.call(channel.queue_declare, queue, passive=True)).message_count)
            except ChannelRefused:
                return None

        return self.broker(use)

    @property
    def dead(self) -> int | None:
        """How many messages were dead-lettered."""
        return self.ready(dead_letter_queue(self.queue))


def header(task_id: object, version: int) -> dict[str, Any]:
    """Return the headers of the message of a pending task."""
    return {"aggregate_type": "task", "aggregate_id": str(task_id), "aggregate_version": version}


def get(command: Command, path: str) -> tuple[int, str]:
    """Ask a consumer's HTTP endpoint; returns the status and the text."""
    host, _, port = command.logged("serving metrics and health")["address"].rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def metric(command: Command, name: str, /, **labels: str) -> float:
    """Return the sum of a consumer's metric over all series that have `labels`."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        float(line.rpartition(" ")[2])
        for line in get(command, "/metrics")[1].splitlines()
        if line.startswith((f"{name} ", f"{name}{{")) and all(label in line for label in wanted)
    )
