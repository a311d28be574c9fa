"""Checks of RabbitMQ: version, connection, exchange, and test messages. Pure.

No consumer gets a test message. The publish to the relay's exchange is rolled back in an AMQP transaction: the broker
checks the exchange and the permission, and routes nothing. The test that unroutable messages are returned uses the
default exchange with a random routing key, which routes only to the queue of that name, and there is none. On the
relay's own exchange a mandatory message would reach every queue that is bound with `#`.
https://www.rabbitmq.com/docs/semantics#tx, https://www.rabbitmq.com/docs/exchanges#default-exchange

RabbitMQ does not document the text of a refusal (406 names the property that differs): if it cannot be parsed, the
result is UNKNOWN. AMQP does not show what a policy sets, such as an alternate exchange.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from outboxkit.amqp.answers import answer
from outboxkit.amqp.answers.answer import (
    ACCEPTED,
    ACCESS_REFUSED,
    NO_ANSWER,
    NOT_FOUND,
    PRECONDITION_FAILED,
    Answer,
    differing,
)
from outboxkit.amqp.topology import EXCHANGE_TYPE
from outboxkit.checks.finding import Check, Verdict, fail, ok, unknown, warn
from outboxkit.checks.nodes import Nodes, judge
from relay.operating.display import size

# Quorum queues, and their delivery count, came with 3.8.
_OLDEST = (3, 8)
# The default max_message_size of RabbitMQ 4: https://www.rabbitmq.com/docs/configure
_MAX_MESSAGE_BYTES = 16 << 20
_NEEDED = ("publisher_confirms", "basic.nack", "connection.blocked")
_CONSEQUENCES = {
    "type": "events are not routed by topic; ",
    "alternate-exchange": "unroutable events go to the alternate exchange and are not returned; ",
    "durable": "the exchange is lost when the broker restarts; ",
    "auto_delete": "the exchange is deleted with its last binding; ",
    "internal": "no publisher may use the exchange; ",
}
_OTHER_EXCHANGE = "if this is not intended, set another RELAY_EXCHANGE, run `relay setup`, and bind the queues to it"


@dataclass(frozen=True, slots=True)
class Broker:
    """RabbitMQ's properties, and its answers."""

    product: str
    version: str
    nodes: Nodes
    capabilities: Sequence[str]
    encrypted: bool
    remote: str | None
    """The host, if it is another machine."""
    blocked: bool
    exchange_name: str
    exchange: Answer
    declared: Answer
    """The answer to declaring the exchange as `relay setup` does."""
    published: Answer
    returned: Answer
    max_message_bytes: int


def nodes(broker: Broker) -> Verdict:
    """Judge whether each node that RELAY_AMQP_URL names can be used."""
    return judge(broker.nodes)


def version(broker: Broker) -> Verdict:
    """Judge the broker's version."""
    name = f"{broker.product} {broker.version}"
    if _number(broker) < _OLDEST:
        return fail(f"{name} has no quorum queues", remedy="upgrade to RabbitMQ 3.8 or later", version=broker.version)
    return ok(name, version=broker.version)


def capabilities(broker: Broker) -> Verdict:
    """Judge whether the broker has the AMQP extensions that delivery needs."""
    missing = [name for name in _NEEDED if name not in broker.capabilities]
    if missing:
        return fail(f"the broker does not offer {', '.join(missing)}", remedy="use RabbitMQ", missing=missing)
    return ok("the broker supports confirms, nacks, and blocked notifications", missing=[])


def tls(broker: Broker) -> Verdict:
    """Judge whether the connection is encrypted; `amqps://` is always verified."""
    facts = {"encrypted": broker.encrypted, "remote": broker.remote}
    if broker.remote is None:
        return ok("RabbitMQ is on this machine", **facts)
    if not broker.encrypted:
        return warn(
            f"passwords and events go to {broker.remote} unencrypted",
            remedy="use amqps:// with RELAY_AMQP_CA, and unset RELAY_AMQP_PLAINTEXT",
            **facts,
        )
    return ok(f"the connection to {broker.remote} is encrypted and verified", **facts)


def alarm(broker: Broker) -> Verdict:
    """Judge whether the broker accepts messages now."""
    if broker.blocked:
        return fail(
            "RabbitMQ accepts no messages: it blocks publishers",
            remedy="free memory or disk on its node; `rabbitmq-diagnostics alarms` shows which",
            blocked=True,
        )
    return ok("RabbitMQ accepts messages", blocked=False)


def exchange(broker: Broker) -> Verdict:
    """Judge whether the exchange exists, with the properties that `relay setup` declares."""
    name = broker.exchange_name
    facts = {"exchange": name, "code": broker.exchange.code, "declare_code": broker.declared.code}
    if NOT_FOUND in {broker.exchange.code, broker.published.code}:
        return fail(f"exchange {name!r} does not exist", remedy="run `relay setup`", **facts)
    if broker.exchange.code == ACCESS_REFUSED:
        return _hidden(broker, facts)
    if broker.exchange.code != ACCEPTED:
        return _not_answered(broker.exchange, f"exchange {name!r}", facts)
    if broker.declared.code == PRECONDITION_FAILED:
        found = differing(broker.declared.text)
        difference = broker.declared.text if found is None else f"its {found[0]} is {found[1]}"
        return warn(
            f"exchange {name!r} exists, but not as `relay setup` declares it: {difference}",
            remedy=_CONSEQUENCES.get(found[0] if found else "", "") + _OTHER_EXCHANGE,
            **facts,
        )
    if broker.declared.code == ACCESS_REFUSED:
        return ok(f"exchange {name!r} exists; its type is unknown: this user may not declare it", **facts)
    return ok(f"exchange {name!r} is a durable {EXCHANGE_TYPE} exchange", **facts)


def _hidden(broker: Broker, facts: Mapping[str, object]) -> Verdict:
    """Judge an exchange that the user may not ask for: it takes configure on 4.2.6 and 4.3.0, any right later."""
    name = broker.exchange_name
    if broker.published.code == ACCEPTED:
        return ok(f"exchange {name!r} exists; its type is unknown: this user may not ask for it", **facts)
    what = f"whether exchange {name!r} exists is unknown: this user may not ask for it"
    return unknown(what, remedy="see broker.publish", **facts)


def publish(broker: Broker) -> Verdict:
    """Judge whether the relay's user may publish to the exchange."""
    name = broker.exchange_name
    facts = {"exchange": name, "code": broker.published.code}
    match broker.published.code:
        case answer.ACCEPTED:
            return ok(f"a test message to {name!r} was accepted, and rolled back", **facts)
        case answer.ACCESS_REFUSED:
            return fail(
                f"this user may not write to exchange {name!r}",
                remedy="grant write, and repeat the user's other permissions, since this replaces all of them: "
                f"rabbitmqctl set_permissions -p <vhost> <user> '^$' '^{re.escape(name)}$' '^$'",
                **facts,
            )
        case answer.NOT_FOUND:
            return fail(f"exchange {name!r} does not exist", remedy="run `relay setup`", **facts)
        case _:
            return _not_answered(broker.published, "the test message", facts)


def mandatory(broker: Broker) -> Verdict:
    """Judge whether an unroutable message is returned before it is confirmed."""
    facts = {"code": broker.returned.code}
    match broker.returned.code:
        case answer.ACCEPTED:
            return ok("an unroutable test message was returned, then confirmed", **facts)
        case answer.ACCESS_REFUSED:
            return unknown(
                "not tried: this user may not write to the default exchange",
                remedy="none needed: the relay does not use that exchange; to try it, check as another user",
                **facts,
            )
        case answer.NOT_RETURNED:
            return fail(
                "an unroutable test message was confirmed without being returned",
                remedy="use RabbitMQ: this broker would lose unroutable events silently",
                **facts,
            )
        case _:
            return _not_answered(broker.returned, "the mandatory test message", facts)


def message_size(broker: Broker) -> Verdict:
    """Judge whether the broker accepts the largest message that the relay publishes."""
    limit = broker.max_message_bytes
    facts = {"max_message_bytes": limit}
    if _number(broker) >= (4, 0) and limit > _MAX_MESSAGE_BYTES:
        return warn(
            f"RabbitMQ 4 accepts {size(_MAX_MESSAGE_BYTES)} by default, and RELAY_MAX_MESSAGE_BYTES is {size(limit)}",
            remedy="set max_message_size in rabbitmq.conf to at least as much, or lower RELAY_MAX_MESSAGE_BYTES",
            **facts,
        )
    return ok(f"messages of up to {size(limit)} are published, larger ones are parked", **facts)


CHECKS = (
    Check("broker.nodes", nodes),
    Check("broker.version", version),
    Check("broker.capabilities", capabilities),
    Check("broker.tls", tls),
    Check("broker.alarm", alarm),
    Check("broker.exchange", exchange),
    Check("broker.publish", publish),
    Check("broker.mandatory", mandatory),
    Check("broker.message_size", message_size),
)


def _number(broker: Broker) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", broker.version)[:2])


def _not_answered(found: Answer, what: str, facts: Mapping[str, object]) -> Verdict:
    if found.code == NO_ANSWER:
        summary = f"RabbitMQ did not answer about {what} in time"
        return unknown(summary, remedy="see broker.alarm and RabbitMQ's log", **facts)
    return fail(f"{what} was refused with {found.code}: {found.text}", remedy="see RabbitMQ's log", **facts)
