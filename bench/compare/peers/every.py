"""The peers, in the order in which the report names them."""

from collections.abc import Sequence

from bench.compare.peers import debezium, graphile_worker, pg_transactional_outbox, pika_poller, procrastinate
from bench.compare.peers.peer import Peer
from outboxkit.errors import ConfigurationProblem

ALL: tuple[Peer, ...] = (
    debezium.PEER,
    pg_transactional_outbox.SEGMENTS,
    pg_transactional_outbox.IN_TURN,
    pg_transactional_outbox.POLLING,
    pika_poller.PEER,
    procrastinate.PEER,
    graphile_worker.PEER,
)


def chosen(parts: Sequence[str]) -> tuple[Peer, ...]:
    """Return the peers that have one of `parts` in their names, or all if there are no parts.

    Raises ConfigurationProblem for a part that is in no name.
    """
    for part in parts:
        if not any(part in peer.arm.name for peer in ALL):
            names = ", ".join(repr(peer.arm.name) for peer in ALL)
            raise ConfigurationProblem(f"no peer has {part!r} in its name", remedy=f"the peers are {names}")
    return tuple(peer for peer in ALL if not parts or any(part in peer.arm.name for part in parts))
