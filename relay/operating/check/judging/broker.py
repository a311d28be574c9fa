"""What is checked of RabbitMQ: its version, the way to it, the exchange, a test publish, and queues. Pure.

No message of the test can reach a consumer. A publish to the relay's exchange is made in an AMQP transaction and rolled
back: the broker checks the exchange and the permission, and routes nothing. That unroutable messages come back is tried
on the default exchange under a random name, which routes to the queue of that name and to no other, and there is none.
A mandatory publish on the relay's own exchange would go to every queue that is bound with `#`.
https://www.rabbitmq.com/docs/semantics#tx, https://www.rabbitmq.com/docs/exchanges#default-exchange

What is read out of a refusal's text (406 names the property that differs) is no contract of RabbitMQ's: what cannot be
read is UNKNOWN. What a policy sets (an alternate exchange, say) is told by RabbitMQ's management alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from outboxkit.amqp.topology import EXCHANGE_TYPE
from relay.operating.check.asking import answers
from relay.operating.check.asking.answers import DIFFERS, NO_ANSWER, NOT_FOUND, REFUSED, TAKEN, Answer, differing
from relay.operating.check.finding import Check, Verdict, fail, ok, unknown, warn
from relay.operating.display import size

# Quorum queues came with 3.8; poison messages are counted since then.
_OLDEST = (3, 8)
# RabbitMQ 4 takes messages of 16 MiB unless told otherwise: https://www.rabbitmq.com/docs/configure
_MAX_MESSAGE_BYTES = 16 << 20
_NEEDED = ("publisher_confirms", "basic.nack", "connection.blocked")


@dataclass(frozen=True, slots=True)
class Broker:
    """What RabbitMQ says of itself, and what it answered."""

    product: str
    version: str
    capabilities: Sequence[str]
    encrypted: bool
    remote: str | None
    """The host, if it is another machine."""
    blocked: bool
    exchange_name: str
    exchange: Answer
    declared: Answer
    """To declaring the exchange as `relay setup` does."""
    published: Answer
    returned: Answer
    max_message_bytes: int


def version(broker: Broker) -> Verdict:
    """Judge the broker's version."""
    told = f"{broker.product} {broker.version}"
    if _number(broker) < _OLDEST:
        return fail(f"{told} has no quorum queues", remedy="upgrade to RabbitMQ 3.8 or later", version=broker.version)
    return ok(told, version=broker.version)


def capabilities(broker: Broker) -> Verdict:
    """Judge whether the broker can do what delivery rests on."""
    missing = [name for name in _NEEDED if name not in broker.capabilities]
    if missing:
        return fail(f"the broker does not offer {', '.join(missing)}", remedy="use RabbitMQ", missing=missing)
    return ok("the broker confirms, nacks, and says when it is blocked", missing=[])


def tls(broker: Broker) -> Verdict:
    """Judge who can read what is on the wire to the broker; `amqps://` is always verified."""
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
    """Judge whether the broker takes messages now."""
    if broker.blocked:
        return fail(
            "RabbitMQ takes no messages: it blocks its publishers",
            remedy="free memory or disk: `rabbitmqctl status` and `rabbitmq-diagnostics alarms`",
            blocked=True,
        )
    return ok("RabbitMQ takes messages", blocked=False)


def exchange(broker: Broker) -> Verdict:
    """Judge whether the exchange is there, and is what `relay setup` makes."""
    name = broker.exchange_name
    facts = {"exchange": name, "code": broker.exchange.code, "declare_code": broker.declared.code}
    if broker.exchange.code == NOT_FOUND:
        return fail(f"exchange {name!r} does not exist", remedy="run `relay setup`", **facts)
    if broker.exchange.code != TAKEN:
        return _not_answered(broker.exchange, f"exchange {name!r}", facts)
    if broker.declared.code == DIFFERS:
        found = differing(broker.declared.text)
        told = broker.declared.text if found is None else f"its {found[0]} is {found[1]}"
        return warn(
            f"exchange {name!r} is there, but is not as `relay setup` declares it: {told}",
            remedy="an alternate-exchange takes unroutable events unseen; anything but topic routes by other rules",
            **facts,
        )
    if broker.declared.code == REFUSED:
        return ok(f"exchange {name!r} is there; its type is not told to this user", **facts)
    return ok(f"exchange {name!r} is a durable {EXCHANGE_TYPE} exchange", **facts)


def publish(broker: Broker) -> Verdict:
    """Judge whether the relay's user may publish to the exchange."""
    name = broker.exchange_name
    facts = {"exchange": name, "code": broker.published.code}
    match broker.published.code:
        case answers.TAKEN:
            return ok(f"a test message to {name!r} was taken, and rolled back", **facts)
        case answers.REFUSED:
            return fail(
                f"this user may not write to exchange {name!r}",
                remedy=f"rabbitmqctl set_permissions -p <vhost> <user> '^$' '^{name}$' '^$'",
                **facts,
            )
        case answers.NOT_FOUND:
            return fail(f"exchange {name!r} does not exist", remedy="run `relay setup`", **facts)
        case _:
            return _not_answered(broker.published, "the test message", facts)


def mandatory(broker: Broker) -> Verdict:
    """Judge whether what no queue takes comes back before it is confirmed."""
    facts = {"code": broker.returned.code}
    match broker.returned.code:
        case answers.TAKEN:
            return ok("a test message that no queue takes was returned, then confirmed", **facts)
        case answers.REFUSED:
            return unknown(
                "not tried: this user may not write to the default exchange",
                remedy="nothing needs mending: a relay needs no such right. To try it, check as a user who has it",
                **facts,
            )
        case answers.UNSEEN:
            return fail(
                "a test message that no queue takes was confirmed without being returned",
                remedy="use RabbitMQ: an unroutable event would be lost here in silence",
                **facts,
            )
        case _:
            return _not_answered(broker.returned, "the mandatory test message", facts)


def message_size(broker: Broker) -> Verdict:
    """Judge whether the broker takes what the relay takes for small enough."""
    limit = broker.max_message_bytes
    facts = {"max_message_bytes": limit}
    if _number(broker) >= (4, 0) and limit > _MAX_MESSAGE_BYTES:
        return warn(
            f"RabbitMQ 4 takes {size(_MAX_MESSAGE_BYTES)} by default, and RELAY_MAX_MESSAGE_BYTES is {size(limit)}",
            remedy="raise max_message_size in rabbitmq.conf, or lower RELAY_MAX_MESSAGE_BYTES",
            **facts,
        )
    return ok(f"messages of up to {size(limit)} are published, larger ones parked", **facts)


CHECKS = (
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


def _not_answered(answer: Answer, what: str, facts: Mapping[str, object]) -> Verdict:
    if answer.code == NO_ANSWER:
        return unknown(f"no answer about {what} in time", remedy="see broker.alarm, and RabbitMQ's log", **facts)
    return fail(f"{what} was refused with {answer.code}: {answer.text}", remedy="see RabbitMQ's log", **facts)
