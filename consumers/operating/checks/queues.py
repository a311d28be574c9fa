"""The judgement of one queue: whether it is there, and as `consumers run` declares it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from outboxkit.amqp.answers.answer import NOT_FOUND
from outboxkit.amqp.answers.preconditions import (
    NO_TOPOLOGY_QUEUE,
    REPLACE_EVENTS_QUEUE,
    REPLACE_QUEUE,
    TOPOLOGY_QUEUE,
)
from outboxkit.amqp.asking import QueueAnswer
from outboxkit.checks.finding import Verdict, fail, ok, unknown, warn

OF_TASKS = REPLACE_QUEUE
OF_EVENTS = REPLACE_EVENTS_QUEUE
OF_TOPOLOGY = TOPOLOGY_QUEUE
DEAD_OF_TASKS = (
    "it was declared with other properties, which cannot change: move what its tasks wait for with `consumers dlq "
    "redrive`, then `rabbitmqctl delete_queue NAME`, and start the consumers, which declare it; no task is lost"
)
DEAD_OF_EVENTS = (
    "it was declared with other properties, which cannot change: move what it holds back to the events' queue with "
    "`consumers dlq redrive --events`, then `rabbitmqctl delete_queue NAME`, and start the consumers, which declare it"
)
_OTHERWISE = {
    "x-queue-type": "it is lost with its node, and counts no deliveries",
    "x-delivery-limit": "a message that ends every consumer is delivered more or less often",
    "x-dead-letter-exchange": "what is rejected is dropped, or goes elsewhere",
    "x-dead-letter-routing-key": "what is rejected goes elsewhere",
    "x-single-active-consumer": "CONSUMERS_EVENTS_SINGLE_ACTIVE says otherwise",
}


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, the arguments that `consumers run` gives it, and what RabbitMQ answered."""

    name: str
    expected: Mapping[str, str | int]
    found: QueueAnswer
    without: str
    """What happens while it does not exist."""
    replace: str
    """What to do if it has other arguments."""
    bound_by_others: bool = False
    """Whether it is there before a consumer is: `consumers run` declares it only then, and does not bind it."""


def judge(queue: Queue) -> Verdict:
    """Judge a queue."""
    found, expected = queue.found, queue.expected
    facts: dict[str, object] = {"queue": queue.name, "arguments": found.arguments}
    if found.answer.code == NOT_FOUND and queue.bound_by_others:
        return fail(f"queue {queue.name!r} does not exist", remedy=NO_TOPOLOGY_QUEUE, **facts)
    if found.answer.code == NOT_FOUND:
        return warn(
            f"queue {queue.name!r} does not exist: until it does, {queue.without}",
            remedy="start `consumers run`, which declares and binds it",
            **facts,
        )
    if found.arguments is None:
        return unknown(
            f"the arguments of queue {queue.name!r} are unknown: {found.why_unknown}",
            remedy="run `rabbitmqctl list_queues name arguments`, or check as a user with configure permission on it",
            **facts,
        )
    wrong = [name for name in {**found.arguments, **expected} if found.arguments.get(name) != expected.get(name)]
    if wrong:
        said = ", ".join(
            f"{each} is {found.arguments.get(each, 'not set')}, not {expected.get(each, 'left out')}" for each in wrong
        )
        why = "; ".join(_OTHERWISE[each] for each in wrong if each in _OTHERWISE)
        return fail(
            f"queue {queue.name!r} is not as `consumers run` declares it, which ends with 406: {said}"
            + (f" ({why})" if why else ""),
            remedy=queue.replace,
            **facts,
        )
    return ok(f"queue {queue.name!r} is as `consumers run` declares it", **facts)
