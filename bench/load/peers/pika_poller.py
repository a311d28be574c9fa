"""A relay as people write it by hand, with blocking pika: a process (`python -m bench.load.peers.pika_poller`).

It claims up to a hundred rows with FOR UPDATE SKIP LOCKED, publishes one after the other, waits for each confirm, and
marks all of them in the same transaction. As in most such code, no message is mandatory, and no error is caught: the
process ends, and whatever started it starts it again. What it had published of the last hundred is published twice.
"""

import signal
from typing import Any

import pika
import psycopg
from pika.adapters.blocking_connection import BlockingChannel

from bench.load import programs
from outboxkit import sql
from outboxkit.amqp.format import NAMES, PERSISTENT


class Poller:
    """Polls over `connection`, and publishes to `exchange`."""

    def __init__(self, connection: psycopg.Connection[Any], channel: BlockingChannel, exchange: str) -> None:
        self.stopping = False
        self._connection = connection
        self._channel = channel
        self._exchange = exchange

    def poll(self) -> int:
        """Publish some rows; returns how many there were."""
        with self._connection.transaction():
            rows = self._connection.execute(sql.example("bench_peer_pika_poller_read")).fetchall()
            for row in rows:
                self._publish(*row)
            ids = [row[0] for row in rows]
            self._connection.execute(sql.example("bench_peer_pika_poller_mark"), {"ids": ids})
        return len(rows)

    def _publish(  # noqa: PLR0913, PLR0917 - the columns of the query
        self, event_id: str, aggregate: str, aggregate_id: str, version: int, kind: str, payload: str,
        headers: dict[str, Any],
    ) -> None:  # fmt: skip
        names: dict[str, Any] = {
            NAMES.aggregate_type: aggregate, NAMES.aggregate_id: aggregate_id, NAMES.aggregate_version: version,
        }  # fmt: skip
        self._channel.basic_publish(
            self._exchange,
            f"{aggregate}.{kind}",
            payload.encode(),
            pika.BasicProperties(
                content_type="application/json",
                message_id=event_id,
                delivery_mode=PERSISTENT,
                headers={**headers, **names},
            ),
        )  # returns when it is confirmed, since the channel is in confirm mode


def run(*, database_url: str, amqp_url: str, exchange: str, interval: float) -> None:
    """Poll until SIGTERM, every `interval` seconds when nothing waits."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        broker = pika.BlockingConnection(pika.URLParameters(amqp_url))
        channel = broker.channel()
        channel.confirm_delivery()
        poller = Poller(connection, channel, exchange)

        def stop(*_: object) -> None:
            poller.stopping = True

        signal.signal(signal.SIGTERM, stop)
        print("ready", flush=True)  # noqa: T201 - what a peer says
        while not poller.stopping:
            if not poller.poll():
                broker.sleep(interval)  # it answers heartbeats meanwhile
        broker.close()


def main(arguments: dict[str, Any]) -> None:
    """Call `run` with those of `arguments` that it needs, as every peer gets the same."""
    wanted = ("database_url", "amqp_url", "exchange")
    run(**{name: arguments[name] for name in wanted}, interval=0.1)


if __name__ == "__main__":
    main(programs.arguments())
