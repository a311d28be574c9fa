"""A past to replay: events, positions, and what a replay publishes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.stage import Said, call, environment, one, publish
from tests.support.tap import Tap


@dataclass(frozen=True)
class Got:
    """A message as a queue has it."""

    exchange: str
    routing_key: str
    properties: Mapping[str, object]
    """Without the headers."""
    headers: dict[str, object]
    body: bytes


class History:
    """Writes events and positions into the database of `isolated`, in whose exchange it has a tap."""

    def __init__(self, isolated: Isolated) -> None:
        self.isolated = isolated
        self.url = isolated.database_url
        self.tap = Tap(isolated.amqp_url, queue=isolated.queue("tap"), exchange=isolated.name)

    def publish(self, *aggregates: str) -> list[str]:
        """Commit one event for each aggregate, in one transaction; return their ids."""
        return publish(self.url, *aggregates)

    def note(self) -> str:
        """Store a position of now; return its LSN."""
        assert one(self.url, "SELECT relay.note_position('relay', interval '0')")
        return str(one(self.url, "SELECT lsn::text FROM relay.checkpoint_history ORDER BY at DESC LIMIT 1"))

    def time(self) -> str:
        """Return the database's time."""
        return str(one(self.url, "SELECT clock_timestamp()::text"))

    def replay(self, *arguments: str, **settings: str) -> Said:
        """Run `relay replay` without a question."""
        return call(environment(self.isolated, **settings), "replay", *arguments, "--yes")

    def ids(self) -> list[str]:
        """Return the ids of the messages that have come since the last time, in order."""
        return [delivery.message for delivery in self.tap.drain()]

    def get(self, queue: str | None = None) -> Got:
        """Return the oldest message of a queue, and remove it; of the tap's if none is named."""
        with self.tap.channel() as channel:
            method, properties, body = channel.basic_get(queue or self.tap.queue, auto_ack=True)
        assert method is not None
        assert properties is not None
        told = {name: value for name, value in vars(properties).items() if name != "headers"}
        return Got(str(method.exchange), str(method.routing_key), told, dict(properties.headers or {}), body or b"")

    def jobs(self) -> list[dict[str, Any]]:
        """Return what `relay replay list --json` prints."""
        jobs: list[dict[str, Any]] = json.loads(call(environment(self.isolated), "replay", "list", "--json").output)
        return jobs

    def interrupted(self) -> dict[str, Any]:
        """Wait until the last job is interrupted: Postgres has noticed that its process is gone. Return the job."""
        until(lambda: self.jobs()[0]["state"] == "interrupted", what="its lock is free", seconds=60)
        return self.jobs()[0]

    def hurry(self) -> None:
        """Let jobs go on without a rate."""
        with psycopg.connect(self.url) as connection:
            connection.execute("UPDATE relay.replay SET rate = NULL")

    def drop_partitions(self) -> None:
        """Drop the partitions with events, as retention does; one that somebody reads just now at the next attempt."""
        drop = "SELECT outbox.drop_partition(partition, interval '-3 days') FROM outbox.old_partitions('-3 days')"
        with psycopg.connect(self.url, autocommit=True) as connection:
            until(
                lambda: {obstacle for (obstacle,) in connection.execute(drop)} == {None},
                what="the partitions are dropped", seconds=60,
            )  # fmt: skip

    def transaction(self) -> "psycopg.Connection[Any]":
        """Open a transaction of its own."""
        return psycopg.connect(self.url)


def write(connection: "psycopg.Connection[Any]", *aggregates: str) -> list[str]:
    """Write one event for each aggregate in the transaction of `connection`; return their ids."""
    statement = "SELECT outbox.publish('order', id, 1, 'paid', '{}')::text FROM unnest(%s::text[]) AS id"
    return [row[0] for row in connection.execute(statement, [list(aggregates)])]


def lines(output: str) -> Sequence[dict[str, Any]]:
    """Return the lines of JSON that a command printed."""
    return [json.loads(line) for line in output.splitlines()]
