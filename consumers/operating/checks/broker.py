"""Checks of RabbitMQ: what `consumers run` declares there, and whether it may.

AMQP does not show a queue's arguments, its bindings, a user's permissions, or the node's configuration. The arguments
are found by declaring the queue that exists, which changes nothing (outboxkit/amqp/asking.py); the rest is UNKNOWN,
with the command that shows it.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from consumers.operating.checks import queues
from consumers.operating.checks.module import Kinds
from consumers.operating.checks.queues import Queue
from consumers.settings import ConsumerSettings
from outboxkit.amqp import asking
from outboxkit.amqp.answers.answer import ACCEPTED, ACCESS_REFUSED, NOT_FOUND, Answer
from outboxkit.amqp.asking import Channel, answered, queue, tried
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.format import TASK_PENDING
from outboxkit.amqp.topology import arguments, check_exchange, dead_letter_queue
from outboxkit.checks.finding import Check, Unknown, Verdict, fail, ok, unknown
from outboxkit.checks.nodes import Nodes, judge

_NO_TASKS = "no handler for tasks is registered: no queue of tasks is needed"
_NO_EVENTS = "no handler of events is registered: no queue of events is needed"


@dataclass(frozen=True, slots=True)
class Broker:
    """RabbitMQ's answers; None for queues that the handlers do not need."""

    nodes: Nodes
    exchange_name: str
    exchange: Answer
    tasks: Queue | None
    tasks_dead: Queue | None
    consumers: int
    """How many read the queue of tasks."""
    events: Queue | None = None
    events_dead: Queue | None = None

    @property
    def queues(self) -> list[Queue]:
        """Those that are needed: a consumer declares them."""
        return [each for each in (self.tasks, self.tasks_dead, self.events, self.events_dead) if each is not None]


async def ask(settings: ConsumerSettings, kinds: Kinds) -> Broker | Unknown:
    """Ask RabbitMQ for all facts. An error of the broker makes them unknown and is not raised."""

    async def asked(connection: Connection) -> Broker:
        return await _asked(connection, settings, kinds)

    url = settings.amqp_url.get_secret_value()
    return await answered(url, asked, name="consumers check", tls=settings.tls())


async def _asked(connection: Connection, settings: ConsumerSettings, kinds: Kinds) -> Broker:
    counted = 0

    async def exchange(channel: Channel) -> None:
        await check_exchange(connection, channel, settings.exchange)

    async def consumers(channel: Channel) -> None:
        nonlocal counted
        counted = (await connection.call(channel.queue_declare, settings.queue, passive=True)).consumer_count

    async def asked(name: str, expected: Mapping[str, str | int], without: str, replace: str) -> Queue:
        return Queue(name, expected, await queue(connection, name), without, replace)

    async def asked_dead(of: str, replace: str) -> Queue:
        return await asked(dead_letter_queue(of), arguments(), "what is rejected is lost", replace)

    tasks = tasks_dead = events = events_dead = None
    if kinds.tasks:
        await tried(connection, consumers)
        returned = "the relay's messages about tasks are returned"
        tasks = await asked(settings.queue, arguments(settings.queue), returned, queues.OF_TASKS)
        tasks_dead = await asked_dead(settings.queue, queues.DEAD_OF_TASKS)
    if kinds.events and (name := settings.events_queue) is not None:
        expected = arguments(name, single_active=settings.events_single_active)
        if settings.events_bind:
            events = await asked(name, expected, "no events come to it", queues.OF_EVENTS)
        else:
            events = Queue(name, expected, await queue(connection, name), "", queues.OF_TOPOLOGY, bound_by_others=True)
        events_dead = await asked_dead(name, queues.DEAD_OF_EVENTS)
    url, found = settings.amqp_url.get_secret_value(), await tried(connection, exchange)
    named = await asking.nodes(url, name="consumers check", tls=settings.tls())
    return Broker(named, settings.exchange, found, tasks, tasks_dead, counted, events, events_dead)


def nodes(broker: Broker) -> Verdict:
    """Judge whether each node that CONSUMERS_AMQP_URL names can be used."""
    return judge(broker.nodes)


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
    """Judge the queue of tasks."""
    return ok(_NO_TASKS) if broker.tasks is None else queues.judge(broker.tasks)


def dead_letters(broker: Broker) -> Verdict:
    """Judge the queue for what is rejected of it."""
    return ok(_NO_TASKS) if broker.tasks_dead is None else queues.judge(broker.tasks_dead)


def events_queue(broker: Broker) -> Verdict:
    """Judge the queue of events."""
    return ok(_NO_EVENTS) if broker.events is None else queues.judge(broker.events)


def events_dead_letters(broker: Broker) -> Verdict:
    """Judge the queue for what is rejected of it."""
    return ok(_NO_EVENTS) if broker.events_dead is None else queues.judge(broker.events_dead)


def binding(broker: Broker) -> Verdict:
    """Say whether the queue gets the messages of tasks."""
    if broker.tasks is None:
        return ok(_NO_TASKS)
    name = broker.tasks.name
    facts = {"queue": name, "binding_key": TASK_PENDING, "consumers": broker.consumers}
    if broker.consumers:
        return ok(f"{broker.consumers} consumers read queue {name!r}; each bound it at its start", **facts)
    return unknown(
        "unknown: AMQP does not show bindings, and no consumer reads the queue, which would have bound it",
        remedy=f"start `consumers run`, which binds it; `rabbitmqctl list_bindings` must show {TASK_PENDING!r} from "
        f"{broker.exchange_name!r} to {name!r}",
        **facts,
    )


def permissions(broker: Broker) -> Verdict:
    """Judge whether the user may declare the queues; reading shows only when it is done."""
    if not broker.queues:
        return unknown("unknown: no queue is named for the handlers", remedy="see events.handlers")
    names = "|".join(re.escape(each.name) for each in broker.queues)
    grant = (
        f"rabbitmqctl set_permissions -p <vhost> <user> '^({names})$' '^({names}|amq\\.default)$' "
        f"'^({names}|{re.escape(broker.exchange_name)})$'; it replaces what the user had"
    )
    found = [each.found for each in broker.queues]
    if any("ACCESS_REFUSED" in each.why_unknown or each.answer.code == ACCESS_REFUSED for each in found):
        return fail("this user may not configure the queues, which `consumers run` declares", remedy=grant)
    if all(each.arguments is not None for each in found):
        return unknown(
            "configure is granted on the queues; whether write and read are is unknown: AMQP shows it only when used",
            remedy=f"`rabbitmqctl list_user_permissions <user>` shows them; what it needs: {grant}",
        )
    return unknown("unknown: a queue does not exist yet", remedy=f"what the user needs: {grant}")


def consumer_timeout(_: Broker) -> Verdict:
    """Say that the node's consumer_timeout cannot be asked for."""
    return unknown(
        "the node's consumer_timeout is unknown: AMQP does not show it (its default is 30 minutes)",
        remedy="`rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'` shows it in milliseconds; a "
        "longer handler runs once, but its channel is closed and all its deliveries come again",
    )


CHECKS = (
    Check("broker.nodes", nodes),
    Check("broker.exchange", exchange),
    Check("broker.queue", tasks_queue),
    Check("broker.dead_letters", dead_letters),
    Check("broker.binding", binding),
    Check("broker.events_queue", events_queue),
    Check("broker.events_dead_letters", events_dead_letters),
    Check("broker.permissions", permissions),
    Check("broker.consumer_timeout", consumer_timeout),
)


def asked(settings: ConsumerSettings, kinds: Kinds) -> Broker | Unknown:
    """Ask, outside a loop."""
    return asyncio.run(ask(settings, kinds))
