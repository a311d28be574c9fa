"""Checks of the queues that consumers read, as far as AMQP shows them. Pure.

AMQP cannot query a queue's type or arguments. But RabbitMQ refuses to declare an existing queue with other properties:
the 406 names the first one that differs and its current value, and changes nothing. So each refusal corrects a guess.
This takes the configure permission on the queue, and does not show what a policy sets.
https://www.rabbitmq.com/docs/queues#property-equivalence
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from outboxkit.amqp.answers.answer import NOT_FOUND, Answer
from outboxkit.checks.finding import Check, Verdict, fail, ok, unknown, warn


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue that consumers read; `arguments` is None if they are unknown."""

    name: str
    answer: Answer
    arguments: Mapping[str, str | int] | None
    why_unknown: str = ""
    """Why the arguments are unknown."""


def queue_type(queue: Queue) -> Verdict:
    """Judge whether the queue survives the loss of a node."""
    kind = None if queue.arguments is None else str(queue.arguments.get("x-queue-type", "classic"))
    facts = {"queue": queue.name, "type": kind}
    if queue.answer.code == NOT_FOUND:
        return fail(
            f"queue {queue.name!r} does not exist",
            remedy="correct --queue, or run `consumers run`, which declares its queue",
            **facts,
        )
    if kind is None:
        return _unknown(queue, "type", facts)
    if kind == "classic":
        return warn(
            f"queue {queue.name!r} is a classic queue: it is lost with its node",
            remedy="declare a quorum queue under another name, bind it like this one, and move the consumers to it",
            **facts,
        )
    return ok(f"queue {queue.name!r} is a {kind} queue", **facts)


def queue_dead_letters(queue: Queue) -> Verdict:
    """Judge whether rejected messages are kept."""
    exchange = None if queue.arguments is None else queue.arguments.get("x-dead-letter-exchange")
    key = None if queue.arguments is None else queue.arguments.get("x-dead-letter-routing-key")
    facts = {"queue": queue.name, "dead_letter_exchange": exchange, "dead_letter_routing_key": key}
    if queue.arguments is None:
        return _unknown(queue, "dead-letter exchange", facts)
    if queue.arguments.get("x-queue-type") == "stream":
        return ok(f"queue {queue.name!r} is a stream, and does not dead-letter", **facts)
    if exchange is None:
        return warn(
            f"queue {queue.name!r} has no dead-letter exchange: it drops rejected messages, unless a policy sets one",
            remedy="if `rabbitmqctl list_policies` shows none, set dead-letter-exchange by a policy",
            **facts,
        )
    where = f"queue {key!r}" if exchange == "" else f"exchange {exchange!r}"
    return ok(f"queue {queue.name!r} dead-letters to {where}", **facts)


def queue_delivery_limit(queue: Queue) -> Verdict:
    """Judge what happens to a message that makes every consumer fail."""
    limit = None if queue.arguments is None else queue.arguments.get("x-delivery-limit")
    facts = {"queue": queue.name, "delivery_limit": limit}
    if queue.arguments is None:
        return _unknown(queue, "delivery limit", facts)
    if queue.arguments.get("x-queue-type") != "quorum":
        return ok(f"queue {queue.name!r} counts no deliveries: only quorum queues do", **facts)
    if limit is None:
        return warn(
            f"queue {queue.name!r} has no delivery limit of its own: no limit before RabbitMQ 4, and 20 since",
            remedy="set delivery-limit and dead-letter-exchange by a policy, if `rabbitmqctl list_policies` shows none",
            **facts,
        )
    if "x-dead-letter-exchange" not in queue.arguments:
        return warn(
            f"queue {queue.name!r} drops a message after {limit} deliveries, unless a policy dead-letters it",
            remedy="if `rabbitmqctl list_policies` shows none, set dead-letter-exchange by a policy",
            **facts,
        )
    return ok(f"queue {queue.name!r} dead-letters a message after {limit} deliveries", **facts)


def no_queue(_: object) -> Verdict:
    """Return the verdict if no queue was named: the relay itself knows only exchanges."""
    return unknown("no queue was named", remedy="name the queues that consumers read: `relay check --queue <name>`")


CHECKS = (
    Check("queue.type", queue_type),
    Check("queue.dead_letters", queue_dead_letters),
    Check("queue.delivery_limit", queue_delivery_limit),
)
NONE_NAMED: tuple[Check[Any], ...] = tuple(Check(check.id, no_queue) for check in CHECKS)


def _unknown(queue: Queue, what: str, facts: Mapping[str, object]) -> Verdict:
    see_arguments = (
        "run `rabbitmqctl list_queues name type arguments policy`, "
        "or `relay check` as a user with configure permission on the queue"
    )
    return unknown(
        f"the {what} of queue {queue.name!r} is unknown: {queue.why_unknown}",
        remedy="see queue.type" if queue.answer.code == NOT_FOUND else see_arguments,
        **facts,
    )
