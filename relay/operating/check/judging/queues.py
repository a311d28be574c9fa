"""What is checked of the queues that consumers read, as far as AMQP tells it. Pure.

AMQP has no question for a queue's type or arguments. But declaring one that exists otherwise is refused with 406, which
names the first property that differs and its current value, and changes nothing: so they are guessed, one refusal after
the other. It takes the right to configure the queue. What a policy sets is not among them.
https://www.rabbitmq.com/docs/queues#property-equivalence
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.operating.check.asking.answers import NOT_FOUND, Answer, differing
from relay.operating.check.finding import Check, Verdict, fail, ok, unknown, warn


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue that consumers read; `arguments` is None where they were not told."""

    name: str
    answer: Answer
    arguments: Mapping[str, str | int] | None
    why_not: str = ""
    """Why the arguments were not told."""


@dataclass(slots=True)
class Guess:
    """What a queue is taken to be declared as."""

    durable: bool = True
    auto_delete: bool = False
    arguments: dict[str, str | int] = field(default_factory=lambda: {"x-queue-type": "classic"})

    def learn(self, refusal: str) -> bool:
        """Correct the guess by the text of a 406; return whether there was anything to learn from it."""
        found = differing(refusal)
        if found is None:
            return False
        name, value = found
        if name in {"durable", "auto_delete"}:
            setattr(self, name, value == "true")
        elif not name.startswith("x-"):
            return False
        elif value is None:
            self.arguments.pop(name, None)
        else:
            self.arguments[name] = value
        return True


def queue_type(queue: Queue) -> Verdict:
    """Judge whether a queue survives the loss of a node."""
    kind = None if queue.arguments is None else str(queue.arguments.get("x-queue-type", "classic"))
    facts = {"queue": queue.name, "type": kind}
    if queue.answer.code == NOT_FOUND:
        return fail(f"queue {queue.name!r} does not exist", remedy="`consumers run` declares it", **facts)
    if kind is None:
        return _not_told(queue, "type", facts)
    if kind == "classic":
        return warn(
            f"queue {queue.name!r} is classic: it is lost with its node",
            remedy="declare it as a quorum queue, under another name, and move over",
            **facts,
        )
    return ok(f"queue {queue.name!r} is a {kind} queue", **facts)


def queue_dead_letters(queue: Queue) -> Verdict:
    """Judge whether what consumers give up is kept."""
    exchange = None if queue.arguments is None else queue.arguments.get("x-dead-letter-exchange")
    key = None if queue.arguments is None else queue.arguments.get("x-dead-letter-routing-key")
    facts = {"queue": queue.name, "dead_letter_exchange": exchange, "dead_letter_routing_key": key}
    if queue.arguments is None:
        return _not_told(queue, "dead-letter exchange", facts)
    if queue.arguments.get("x-queue-type") == "stream":
        return ok(f"queue {queue.name!r} is a stream, and dead-letters nothing", **facts)
    if exchange is None:
        return warn(
            f"queue {queue.name!r} names no dead-letter exchange: what is given up is dropped, unless a policy does",
            remedy="see `rabbitmqctl list_policies`; set dead-letter-exchange by one",
            **facts,
        )
    where = f"queue {key!r}" if exchange == "" else f"exchange {exchange!r}"
    return ok(f"queue {queue.name!r} dead-letters to {where}", **facts)


def queue_delivery_limit(queue: Queue) -> Verdict:
    """Judge what becomes of a message that consumers keep dying of."""
    limit = None if queue.arguments is None else queue.arguments.get("x-delivery-limit")
    facts = {"queue": queue.name, "delivery_limit": limit}
    if queue.arguments is None:
        return _not_told(queue, "delivery limit", facts)
    if queue.arguments.get("x-queue-type") != "quorum":
        return ok(f"queue {queue.name!r} counts no deliveries: only quorum queues do", **facts)
    if limit is None:
        return warn(
            f"queue {queue.name!r} names no delivery limit: none before RabbitMQ 4, and 20 from then on",
            remedy="set delivery-limit by a policy, together with a dead-letter exchange",
            **facts,
        )
    if "x-dead-letter-exchange" not in queue.arguments:
        return warn(
            f"queue {queue.name!r} drops a message after {limit} deliveries, unless a policy dead-letters it",
            remedy="set dead-letter-exchange by a policy",
            **facts,
        )
    return ok(f"queue {queue.name!r} gives a message up after {limit} deliveries", **facts)


def no_queue(_: object) -> Verdict:
    """Say that no queue was named: the relay itself knows exchanges only."""
    return unknown("no queue was named", remedy="name those that consumers read: `relay check --queue <name>`")


CHECKS = (
    Check("queue.type", queue_type),
    Check("queue.dead_letters", queue_dead_letters),
    Check("queue.delivery_limit", queue_delivery_limit),
)
NONE_NAMED: tuple[Check[Any], ...] = tuple(Check(check.id, no_queue) for check in CHECKS)


def _not_told(queue: Queue, what: str, facts: Mapping[str, object]) -> Verdict:
    return unknown(
        f"the {what} of queue {queue.name!r} is not told: {queue.why_not}",
        remedy="ask `rabbitmqctl list_queues name type arguments policy`, or check as a user who may configure it",
        **facts,
    )
