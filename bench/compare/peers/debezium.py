"""Debezium as a peer: its engine and its PostgreSQL connector in a process of their own, with a sink for RabbitMQ.

Debezium Server is the same engine with such a sink. It is not used itself: it needs Java 21, and Maven did not find its
RabbitMQ sink in this version.
"""

from pathlib import Path

from bench.compare.peers.peer import Command, Peer
from bench.load.peers import installing


def _install(directory: Path) -> Command:
    return Command(tuple(installing.debezium(directory)))


PEER = Peer(
    "Debezium",
    installing.DEBEZIUM,
    kind="relay",
    about="Debezium's engine with its PostgreSQL connector and Outbox Event Router, and a sink that does what the "
    "RabbitMQ sink of Debezium Server does: messages are persistent, not mandatory, and have no message_id (the row's "
    "id is in the header `id`); the confirms of a batch are waited for before its offset is stored. Offsets are stored "
    "after each batch, as in the example of Debezium Server. It waits 10 ms for a batch to be full: with the default, "
    "500, an event of a small load comes up to half a second later. When the broker goes away it ends, and must be "
    "started again; to the database it connects again by itself, after 10 s.",
    install=_install,
    settings={
        "plugin.name": "pgoutput", "snapshot.mode": "no_data", "publish.via.partition.root": "true",
        "offset.flush.interval.ms": "0", "poll.interval.ms": "10", "heap": "512 MB",
    },
)  # fmt: skip
