"""A topology behind the relay's exchange: N queues, each with the events of its own aggregates. Pure.

    relay -> exchange (topic) -> exchange (headers) -> queue 0 ... queue N-1

With `hash:N` they are quorum queues with a single active consumer each; with `stream:N` they are the partitions of a
super stream. The relay gives each event a header with the number of its aggregate's queue (relay.core.hashing.spread),
and each queue is bound to the second exchange by its number. So all events of an aggregate come into one queue, in the
order in which they were published, and nothing that RabbitMQ keeps decides which: no restart moves an aggregate, a
queue that is deleted moves none of the others', and one that is declared again gets its own.

With `x-match: all`, arguments of a binding that begin with `x-` are not compared with the message. Stream clients find
the partitions of a super stream by the bindings of its exchange, of whatever type (rabbit_stream_manager.erl,
`partitions`).

The number of queues is in every name and in that of the header: another number is another topology beside this one, and
never a change of it.
https://www.rabbitmq.com/docs/exchanges#headers, https://www.rabbitmq.com/docs/consumers#single-active-consumer,
https://www.rabbitmq.com/docs/streams#super-streams
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self, TypeAlias

from outboxkit.amqp.topology import arguments, dead_letter_queue
from outboxkit.errors import ConfigurationProblem
from relay.core.hashing.spread import MOST, Spread

EXCHANGE_TYPE = "headers"
ANEW = "docs/scaling.md, 'Begin anew', says how"
"""The remedy for what cannot be changed."""

_LONGEST_QUEUE = 250
"""`.dead` is added to it, and a name has 255 bytes at most."""

Value: TypeAlias = str | int | bool


class Queue(NamedTuple):
    """A queue, and what it is declared and bound with."""

    name: str
    arguments: Mapping[str, Value]
    key: str
    """The binding's key: a headers exchange does not look at it, and people do."""
    of_binding: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Topology:
    """The queues of `spread` behind `source`, the relay's exchange.

    They get what is published with a routing key that one of `keys` matches.
    """

    spread: Spread
    source: str
    keys: tuple[str, ...] = ("#",)

    @classmethod
    def read(cls, text: str, *, source: str, keys: Sequence[str] = ("#",)) -> Self:
        """Read `hash:8`, `stream:8` or `stream`, the value of --topology; raises ConfigurationProblem."""
        try:
            topology = cls(Spread.parse(text), source, tuple(keys))
        except ValueError as error:
            raise ConfigurationProblem(
                f"--topology {text!r} is wrong: {error}",
                remedy=f"write hash:8 for 8 queues, or stream:8 for a super stream of 8 partitions, at most {MOST}",
            ) from error
        if any(len(queue.name.encode()) > _LONGEST_QUEUE for queue in topology.queues):
            raise ConfigurationProblem(
                f"the queues of {text} would have names of more than {_LONGEST_QUEUE} bytes, such as "
                f"{topology.queues[-1].name}",
                remedy="set RELAY_EXCHANGE to a shorter name",
            )
        return topology

    @property
    def exchange(self) -> str:
        """The exchange that compares headers; with `stream` this is the super stream's name."""
        return f"{self.source}.{self.spread.kind}-{self.spread.queues}"

    @property
    def exchange_arguments(self) -> Mapping[str, Value]:
        """What that exchange is declared with."""
        return {"x-super-stream": True} if self.spread.kind == "stream" else {}

    @property
    def queues(self) -> Sequence[Queue]:
        """The queues, by their numbers."""
        return [self._queue(number) for number in range(self.spread.queues)]

    @property
    def declared(self) -> Iterator[tuple[str, Mapping[str, Value]]]:
        """Every queue with its arguments, those for dead letters too; a stream has none."""
        for queue in self.queues:
            yield queue.name, queue.arguments
            if self.spread.kind == "hash":
                yield dead_letter_queue(queue.name), arguments()

    def needed(self, spread: Spread | None) -> str:
        """Return what is to be done so that events get into the queues, while they are published with `spread`.

        They have the header of one number of queues, so another setting takes them from the queues that have them now.
        """
        set_it = f"set RELAY_TOPOLOGY={self} for `relay run`, for each relay of this outbox, and restart it"
        if spread is None:
            return set_it
        kind = self.spread.kind
        same = "" if kind == spread.kind else f"take {kind}:{spread.queues}, which gets the same events, or "
        return f"if the queues of {spread} are not in use, {set_it}; otherwise {same}begin anew: {ANEW}"

    def fed_by(self, spread: Spread | None) -> bool:
        """Return whether events that are published with `spread` have the header that is compared here."""
        return spread is not None and spread.header == self.spread.header

    def _queue(self, number: int) -> Queue:
        name = f"{self.exchange}-{number}"
        compared: dict[str, Value] = {"x-match": "all", self.spread.header: number}
        if self.spread.kind == "hash":
            return Queue(name, arguments(name, single_active=True), str(number), compared)
        compared["x-stream-partition-order"] = number
        return Queue(name, {"x-queue-type": "stream"}, str(number), compared)

    def __str__(self) -> str:
        return str(self.spread)
