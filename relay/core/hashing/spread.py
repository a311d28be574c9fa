"""Into how many queues events are spread, and which of them gets an aggregate: the form of RELAY_TOPOLOGY. Pure.

The relay names the queue itself, in a header, and RabbitMQ compares it with what the queues are bound with
(relay.operating.topology). RabbitMQ's consistent-hash exchange would need nothing of the relay, but the ring that it
hashes into is not the same after every restart, and aggregates would move past what waits in their old queues.

The number of queues is in the header's name, so what was published for 8 queues never comes into one of 16. The name
has letters and digits only, so that each consumer of CloudEvents takes it.
"""

import re
from dataclasses import dataclass
from typing import Literal, Self

from relay.core.hashing.partition import place_of

MOST = 256
"""RabbitMQ compares the header of a message with each binding."""
_PARTITIONS_OF_A_STREAM = 3
"""As `rabbitmq-streams add_super_stream` makes, unless it is told otherwise."""
_FORM = re.compile(r"(?P<kind>hash|stream)(?::(?P<queues>0|[1-9][0-9]*))?")


@dataclass(frozen=True, slots=True)
class Spread:
    """`queues` queues, or as many partitions of a super stream; `str` gives the form of RELAY_TOPOLOGY, `hash:8`."""

    kind: Literal["hash", "stream"]
    queues: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `hash:8`, `stream:8` or `stream`; raises ValueError for anything else."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError("it is not a topology")
        if text == "hash":
            raise ValueError("it does not say how many queues the topology has")
        queues = found["queues"] or str(_PARTITIONS_OF_A_STREAM)
        if len(queues) > len(str(MOST)) or not 1 < int(queues) <= MOST:
            raise ValueError(f"a topology has 2 to {MOST} queues")
        return cls("hash" if found["kind"] == "hash" else "stream", int(queues))

    @property
    def header(self) -> str:
        """The name of the header that has the number of the queue."""
        return f"hash{self.queues}"

    def queue_of(self, aggregate_type: str, aggregate_id: str) -> int:
        """Return the number of the queue that gets an aggregate, from 0."""
        return place_of(aggregate_type, aggregate_id, self.queues)

    def __str__(self) -> str:
        return f"{self.kind}:{self.queues}"
