"""Checks of RabbitMQ: what `consumers run` declares there, and whether it may.

AMQP does not show a queue's arguments, its bindings, a user's permissions, or the node's configuration. The arguments
are found by declaring the queue that exists, which changes nothing (outboxkit/amqp/asking.py); the rest is UNKNOWN,
with the command that shows it.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consumers.settings import ConsumerSettings
from outboxkit.amqp.answer import ACCEPTED, ACCESS_REFUSED, NOT_FOUND, Answer
from outboxkit.amqp.asking import Channel, QueueAnswer, queue, tried
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.format import TASK_PENDING
from outboxkit.amqp.topology import arguments, check_exchange, dead_letter_queue
from outboxkit.checks.finding import Check, Unknown, Verdict, fail, ok, unknown, warn
from outboxkit.errors import Problem

_DRAIN = (
    "set CONSUMERS_QUEUE to a new name, start the consumers, and move what is left in this queue there with a shovel "
    "before you delete it"
)
_OTHERWISE = {
    "x-queue-type": "it is lost with its node, and counts no deliveries",
    "x-delivery-limit": "a message that ends every consumer is delivered more or less often",
    "x-dead-letter-exchange": "what is rejected is dropped, or goes elsewhere",
    "x-dead-letter-routing-key": "what is rejected goes elsewhere",
}


@dataclass(frozen=True, slots=True)
class Broker:
    """RabbitMQ's answers."""

    exchange_name: str
    exchange: Answer
    queue_name: str
    queue: QueueAnswer
    dead: QueueAnswer
    consumers: int


async def ask(settings: ConsumerSettings) -> Broker | Unknown:
    """Ask RabbitMQ for all facts. An error of the broker makes them unknown and is not raised."""
    try:
        connection = await Connection.open(
            settings.amqp_url.get_secret_value(), name="consumers check", tls=settings.tls()
        )
    except Problem as problem:
        return Unknown(problem.what, problem.remedy)
    try:
        return await _asked(connection, settings)
    except Problem as problem:
        return Unknown(problem.what, problem.remedy)
    finally:
        await connection.close()


async def _asked(connection: Connection, settings: ConsumerSettings) -> Broker:
    counted = 0

    async def exchange(channel: Channel) -> None:
        await check_exchange(connection, channel, settings.exchange)

    async def consumers(channel: Channel) -> None:
        nonlocal counted
        counted = (await connection.call(channel.queue_declare, settings.queue, passive=True)).consumer_count

    await tried(connection, consumers)
    return Broker(
        exchange_name=settings.exchange,
        exchange=await tried(connection, exchange),
        queue_name=settings.queue,
        queue=await queue(connection, settings.queue),
        dead=await queue(connection, dead_letter_queue(settings.queue)),
        consumers=counted,
    )


def exchange(broker: Broker) -> Verdict:
    """Judge whether the exchange that the queue is bound to exists."""
    facts = {"exchange": broker.exchange_name, "code": broker.exchange.code}
    if broker.exchange.code == NOT_FOUND:
        return fail(
            f"exchange {broker.exchange_name!r} does not exist",
            remedy="run `relay setup`, which declares it; or set CONSUMERS_EXCHANGE to RELAY_EXCHANGE's value",
            **facts,
        )
    if broker.exchange.code != ACCEPTED:
        return unknown(f"unknown: {broker.exchange.text}", remedy="see broker.permissions", **facts)
    return ok(f"exchange {broker.exchange_name!r} exists", **facts)


def tasks_queue(broker: Broker) -> Verdict:
    """Judge the queue that consumers read."""
    return _queue(broker.queue_name, broker.queue, arguments(broker.queue_name))


def dead_letters(broker: Broker) -> Verdict:
    """Judge the queue for what is rejected."""
    return _queue(dead_letter_queue(broker.queue_name), broker.dead, arguments())


def _queue(name: str, found: QueueAnswer, expected: Mapping[str, Any]) -> Verdict:
    facts: dict[str, object] = {"queue": name, "arguments": found.arguments}
    if found.answer.code == NOT_FOUND:
        return warn(
            f"queue {name!r} does not exist: until it does, the relay's messages about tasks are returned",
            remedy="start `consumers run`, which declares and binds it",
            **facts,
        )
    if found.arguments is None:
        return unknown(
            f"the arguments of queue {name!r} are unknown: {found.why_unknown}",
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
            f"queue {name!r} is not as `consumers run` declares it, which ends with 406: {said}"
            + (f" ({why})" if why else ""),
            remedy=_DRAIN,
            **facts,
        )
    return ok(f"queue {name!r} is as `consumers run` declares it", **facts)


def binding(broker: Broker) -> Verdict:
    """Say whether the queue gets the messages of tasks."""
    facts = {"queue": broker.queue_name, "binding_key": TASK_PENDING, "consumers": broker.consumers}
    if broker.consumers:
        return ok(f"{broker.consumers} consumers read queue {broker.queue_name!r}; each bound it at its start", **facts)
    return unknown(
        "unknown: AMQP does not show bindings, and no consumer reads the queue, which would have bound it",
        remedy=f"start `consumers run`, which binds it; `rabbitmqctl list_bindings` must show {TASK_PENDING!r} from "
        f"{broker.exchange_name!r} to {broker.queue_name!r}",
        **facts,
    )


def permissions(broker: Broker) -> Verdict:
    """Judge whether the user may declare the queues; reading shows only when it is done."""
    names = "|".join(re.escape(each) for each in (broker.queue_name, dead_letter_queue(broker.queue_name)))
    grant = (
        f"rabbitmqctl set_permissions -p <vhost> <user> '^({names})$' '^({names}|amq\\.default)$' "
        f"'^({names}|{re.escape(broker.exchange_name)})$'; it replaces what the user had"
    )
    refused = [each.why_unknown for each in (broker.queue, broker.dead) if "ACCESS_REFUSED" in each.why_unknown]
    if refused or ACCESS_REFUSED in {broker.queue.answer.code, broker.dead.answer.code}:
        return fail("this user may not configure the queues, which `consumers run` declares", remedy=grant)
    if broker.queue.arguments is not None and broker.dead.arguments is not None:
        return unknown(
            "configure is granted on both queues; whether write and read are is unknown: AMQP shows it only when used",
            remedy=f"`rabbitmqctl list_user_permissions <user>` shows them; what it needs: {grant}",
        )
    return unknown("unknown: a queue does not exist yet", remedy=f"what the user needs: {grant}")


def consumer_timeout(_: Broker) -> Verdict:
    """Say that the node's consumer_timeout cannot be asked for."""
    return unknown(
        "the node's consumer_timeout is unknown: AMQP does not show it (its default is 30 minutes)",
        remedy="`rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'` shows it in milliseconds; it must "
        "be longer than the longest handler",
    )


CHECKS = (
    Check("broker.exchange", exchange),
    Check("broker.queue", tasks_queue),
    Check("broker.dead_letters", dead_letters),
    Check("broker.binding", binding),
    Check("broker.permissions", permissions),
    Check("broker.consumer_timeout", consumer_timeout),
)


def asked(settings: ConsumerSettings) -> Broker | Unknown:
    """Ask, outside a loop."""
    return asyncio.run(ask(settings))
