"""What becomes of messages that RabbitMQ returns because no queue takes them: RELAY_ON_RETURN. Pure.

A mandatory message without a queue is returned, and then confirmed
(https://www.rabbitmq.com/docs/publishers#unroutable). The policy decides here; the publisher carries it out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from relay.core.errors import MessageReturned
from relay.core.ports import Rejection
from relay.publishing.outstanding import Item

OnReturn = Literal["park", "retry", "halt"]


@dataclass(frozen=True, slots=True)
class Park:
    """Reject the messages; the engine parks their events."""

    rejections: Sequence[Rejection]


@dataclass(frozen=True, slots=True)
class Retry:
    """Publish the messages again."""


@dataclass(frozen=True, slots=True)
class Halt:
    """End the relay with `problem`."""

    problem: MessageReturned


def decide(policy: OnReturn, returned: Sequence[tuple[Item, str]]) -> Park | Retry | Halt:
    """Return what to do with `returned`: messages, each with the broker's reason."""
    match policy:
        case "park":
            return Park([Rejection(item.parcel, "returned", _detail(item, why)) for item, why in returned])
        case "retry":
            return Retry()
        case "halt":
            (item, why), *_ = returned
            return Halt(
                MessageReturned(
                    f"event {item.parcel.event.id}: {_detail(item, why)}",
                    remedy="bind a queue to this routing key, or set RELAY_ON_RETURN to park or retry; "
                    "then start it again",
                )
            )


def _detail(item: Item, why: str) -> str:
    route = item.parcel.message.route
    return f"no queue takes routing key {route.routing_key!r} on exchange {route.exchange!r} ({why})"
