"""The peers, in the order in which the report names them."""

from collections.abc import Sequence

from bench.compare.arms import picked
from bench.compare.peers import debezium, graphile_worker, pg_transactional_outbox, pika_poller, procrastinate
from bench.compare.peers.peer import Peer

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
    return picked(parts, ALL, "peer")
