"""A topology behind the relay's exchange: N queues, each with the events of its own aggregates. Pure.

    relay -> exchange (topic) -> exchange (consistent hashing) -> queue 0 ... queue N-1

With `hash:N` they are quorum queues with a single active consumer each; with `stream:N` they are the partitions of a
super stream. The second exchange hashes the header that has the aggregate's id, so all events of an aggregate come into
one queue, in the order in which they were published. Aggregates of two types with one id share a queue, which does no
harm.

The ring of such an exchange has the queues in the order in which they were bound. Up to RabbitMQ 4.2 it may be kept in
memory only; it is then made anew when a node starts and no other runs. The bindings are restored by a pool of workers
(rabbit_binding.erl, `recover`): one worker restores them in the order of the queues' names, several race each other. If
the new ring differed, aggregates would move to other queues at a restart, past what still waits in their old ones. So
the numbers in the names have one width, the queues are bound in the order of their names, and such a RabbitMQ must have
one worker (`default_worker_pool_size = 1`), which AMQP does not show. A queue that leaves the ring moves its
aggregates, and those of all queues behind it.

The number of queues is in every name, and so is the header, unless it is the usual one: another number or header is
another topology beside this one, and never a change of it. RabbitMQ would not notice the change of a header: of an
exchange's arguments, it compares `alternate-exchange` only (rabbit_exchange.erl, `assert_args_equivalence`).
https://www.rabbitmq.com/docs/consumers#single-active-consumer, https://www.rabbitmq.com/docs/streams#super-streams
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self, TypeAlias

from outboxkit.amqp.format import NAMES
from outboxkit.amqp.topology import arguments, dead_letter_queue
from outboxkit.errors import ConfigurationProblem

EXCHANGE_TYPE = "x-consistent-hash"
WEIGHT = "1"
"""The key of a binding to such an exchange is the queue's weight: all have the same."""

MOST = 256
_PARTITIONS_OF_A_STREAM = 3
"""As `rabbitmq-streams add_super_stream` makes, unless it is told otherwise."""
_FORM = re.compile(r"(?P<kind>hash|stream)(?::(?P<queues>[1-9][0-9]{0,2}))?")
ANEW = "docs/scaling.md, 'Begin anew', says how"
"""The remedy for what cannot be changed."""

_LONGEST_QUEUE = 250
"""`.dead` is added to it, and a name has 255 bytes at most."""

Value: TypeAlias = str | int | bool


class Queue(NamedTuple):
    """A queue, and what it is declared and bound with."""

    name: str
    arguments: Mapping[str, Value]
    of_binding: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Topology:
    """`number` queues behind `source`, the relay's exchange; `header` is the name of the header that is hashed.

    They get what is published with a routing key that one of `keys` matches.
    """

    kind: Literal["hash", "stream"]
    number: int
    source: str
    header: str
    keys: tuple[str, ...] = ("#",)

    @classmethod
    def read(cls, text: str, *, source: str, header: str, keys: Sequence[str] = ("#",)) -> Self:
        """Read `hash:8`, `stream:8` or `stream`, the value of --topology; raises ConfigurationProblem."""
        found = _FORM.fullmatch(text)
        number = int((found and found["queues"]) or _PARTITIONS_OF_A_STREAM)
        if found is None or number > MOST or text == "hash":
            raise ConfigurationProblem(
                f"--topology {text!r} is not a topology",
                remedy=f"write hash:8 for 8 queues, or stream:8 for a super stream of 8 partitions, at most {MOST}",
            )
        topology = cls("hash" if found["kind"] == "hash" else "stream", number, source, header, tuple(keys))
        if any(len(queue.name.encode()) > _LONGEST_QUEUE for queue in topology.queues):
            raise ConfigurationProblem(
                f"the queues of --topology {text} would have names of more than {_LONGEST_QUEUE} bytes, such as "
                f"{topology.queues[-1].name}",
                remedy="set RELAY_EXCHANGE to a shorter name",
            )
        return topology

    @property
    def exchange(self) -> str:
        """The exchange that hashes; with `stream` this is the super stream's name."""
        other = "" if self.header == NAMES.aggregate_id else f"-{self.header}"
        return f"{self.source}.{self.kind}-{self.number}{other}"

    @property
    def exchange_arguments(self) -> Mapping[str, Value]:
        """What that exchange is declared with."""
        return {"hash-header": self.header, **({"x-super-stream": True} if self.kind == "stream" else {})}

    @property
    def queues(self) -> Sequence[Queue]:
        """The queues, in the order of their names."""
        return [self._queue(number) for number in range(self.number)]

    @property
    def declared(self) -> Iterator[tuple[str, Mapping[str, Value]]]:
        """Every queue with its arguments, those for dead letters too; a stream has none."""
        for queue in self.queues:
            yield queue.name, queue.arguments
            if self.kind == "hash":
                yield dead_letter_queue(queue.name), arguments()

    def _queue(self, number: int) -> Queue:
        name = f"{self.exchange}-{number:0{len(str(self.number - 1))}}"
        if self.kind == "hash":
            return Queue(name, arguments(name, single_active=True), {})
        return Queue(name, {"x-queue-type": "stream"}, {"x-stream-partition-order": number})

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"
