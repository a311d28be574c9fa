"""What to do about RabbitMQ's 406, by its text: each cause has a remedy of its own. Pure.

What a queue or exchange was declared with cannot be changed, not by a policy either. No remedy loses a message that is
needed; tests/integration/consumers/test_precondition_failed.py and events/test_another_queue.py follow those about
queues and exchanges to the letter.
"""

import re
from typing import NamedTuple


class _Cause(NamedTuple):
    text: re.Pattern[str]
    remedy: str


REPLACE_QUEUE = (
    "it was declared with other properties, which cannot change: set CONSUMERS_QUEUE to a name that no queue has, "
    "and start the consumers. They declare and bind that one, and announce again the tasks whose messages only the "
    "old one has. Then delete the old queue if nobody else reads it, because it is still bound and fills: "
    "`rabbitmqctl delete_queue NAME`"
)
"""What to do about a queue of tasks."""

_QUEUE = re.compile(r"inequivalent arg '[^']*' for queue")

_CAUSES = (
    _Cause(_QUEUE, REPLACE_QUEUE),
    _Cause(
        re.compile(r"inequivalent arg '[^']*' for exchange"),
        "it was declared with other properties, which cannot change: set RELAY_EXCHANGE and CONSUMERS_EXCHANGE to a "
        "name that no exchange has, run `relay setup`, which declares it, start consumers and relay again, and bind "
        "your own queues to it",
    ),
    _Cause(
        re.compile(r"invalid arg '[^']*' for"),
        "this version of RabbitMQ does not know that property: use RabbitMQ 3.8 or later",
    ),
    _Cause(
        re.compile(r"delivery acknowledgement on channel \d+ timed out"),
        "a handler runs for longer than RabbitMQ's consumer_timeout: its task goes on, and the message is skipped when "
        "it comes again; set consumer_timeout in rabbitmq.conf to more milliseconds than the longest handler takes",
    ),
    _Cause(
        re.compile(r"message size \d+ is larger than"),
        "set RELAY_MAX_MESSAGE_BYTES to less than that size, so that the relay parks what is larger; or raise "
        "max_message_size in rabbitmq.conf",
    ),
    _Cause(
        re.compile(r"unknown delivery tag"),
        "report it: a delivery was acknowledged twice; RabbitMQ delivers again what was not acknowledged",
    ),
)

REPLACE_EVENTS_QUEUE = (
    "it was declared with other properties, which cannot change: set CONSUMERS_EVENTS_QUEUE to a name that no queue "
    "has, and start the consumers. They declare and bind that one; an event that comes through both is applied once. "
    "If the old queue is this application's, let consumers with the settings that it was declared with run too, and "
    "unbind it while they run; when they have emptied it, stop them, and delete it: `rabbitmqctl delete_queue NAME`"
)
"""What to do about a queue of events."""

TOPOLOGY_QUEUE = (
    "it is no queue that `relay setup --topology hash:N` has declared: correct CONSUMERS_EVENTS_QUEUE, which is such "
    "as outbox.hash-8-0, and unset CONSUMERS_EVENTS_SINGLE_ACTIVE; or unset CONSUMERS_EVENTS_BIND for a queue of this "
    "application's own"
)
"""What to do about a queue that consumers do not bind, if it has other properties."""
NO_TOPOLOGY_QUEUE = (
    "run `relay setup --topology`, which declares and binds it; or correct CONSUMERS_EVENTS_QUEUE; or unset "
    "CONSUMERS_EVENTS_BIND, so that consumers declare and bind it"
)
"""What to do about one that is missing."""


def remedy(text: str) -> str:
    """Return what to do when RabbitMQ answered 406 with `text`."""
    return next((cause.remedy for cause in _CAUSES if cause.text.search(text)), "see RabbitMQ's log")


def remedy_of_events(text: str) -> str:
    """Return the same for a queue of events, whose messages nobody writes again: they are taken from the old one."""
    return REPLACE_EVENTS_QUEUE if _QUEUE.search(text) else remedy(text)


def remedy_of_topology(text: str) -> str:
    """Return the same for a queue of events that `relay setup --topology` has declared."""
    return TOPOLOGY_QUEUE if _QUEUE.search(text) else remedy(text)
