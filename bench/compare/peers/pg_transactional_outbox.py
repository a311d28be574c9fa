"""pg-transactional-outbox, a package for Node.js with a table of its own, as a peer for each way in which it listens.

The first has the setting that is compared: the fastest that keeps the order of an aggregate. The second has the
package's default, which is slower and safer, and the third polls.
"""

from functools import partial
from pathlib import Path

from bench.compare.peers.peer import Command, Peer
from bench.load.peers import installing

_SCRIPT = "bench_peer_pg_transactional_outbox"
_ABOUT = (
    "A trigger on the outbox copies each event into the package's own table. Each message has its own transaction, "
    "which locks its row, publishes, waits for the confirm and marks the row. As in the package's RabbitMQ example, "
    "messages are mandatory, but one that is returned is only logged, and taken as published. message_id is the row's "
    "id. What fails five times is put away; 15 s without a confirm are a failure."
)
_SETTINGS = {"connections": "20", "messageProcessingTimeoutInMs": "15000", "maxAttempts": "5"}
_UNSEEN = (
    "The WAL may have a commit before other sessions see its rows; a message that is not found then is dropped, and "
    "stays in the table (version 0.6 has a setting to look again, which is off)."
)


def _install(mode: str, directory: Path) -> Command:
    return Command((*installing.pg_transactional_outbox(directory), mode))


def _replication(name: str, mode: str, about: str, strategy: str) -> Peer:
    return Peer(
        name,
        installing.PG_TRANSACTIONAL_OUTBOX,
        kind="relay",
        about=f"{about} {_UNSEEN} {_ABOUT}",
        install=partial(_install, mode),
        script=_SCRIPT,
        aside="bench_peer_pg_transactional_outbox_aside",
        settings={"listener": "replication", "concurrencyStrategy": strategy, **_SETTINGS},
        slow=True,
    )


SEGMENTS = _replication(
    "pg-transactional-outbox",
    "segments",
    "The replication listener, one message of an aggregate at a time. A message that waits for the one before it is "
    "not counted as begun, so the slot may be confirmed past it: if the process ends then, it stays in the table, and "
    "is not sent.",
    "ReplicationSegmentMutex",
)
IN_TURN = _replication(
    "pg-transactional-outbox (in turn)",
    "in-turn",
    "The replication listener with its default: one message at a time.",
    "ReplicationMutex",
)
POLLING = Peer(
    "pg-transactional-outbox (polling)",
    installing.PG_TRANSACTIONAL_OUTBOX,
    kind="relay",
    about=f"The polling listener, one message of an aggregate at a time. {_ABOUT}",
    install=partial(_install, "polling"),
    script=_SCRIPT,
    aside="bench_peer_pg_transactional_outbox_pending",
    settings={
        "listener": "polling", "nextMessagesBatchSize": "5", "nextMessagesPollingIntervalInMs": "250", **_SETTINGS,
    },
    interval=0.25,
    slow=True,
)  # fmt: skip
