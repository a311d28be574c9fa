"""Checks of a topology: its exchange, its queues, and what AMQP does not show. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from outboxkit.amqp.answers.answer import ACCEPTED, ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED, Answer, differing
from outboxkit.amqp.asking import QueueAnswer
from outboxkit.amqp.errors import PluginMissing
from outboxkit.checks.finding import Check, Verdict, fail, ok, unknown
from relay.operating.topology.topology import ANEW, Topology

NOT_ASKED = "no topology was named: `relay check --topology hash:8` judges one"


@dataclass(frozen=True, slots=True)
class Found:
    """What RabbitMQ answered about a topology."""

    topology: Topology
    exchange: Answer
    declared: Answer | PluginMissing
    """The answer to declaring the exchange as `relay setup` does; if it does not exist, the same as `exchange`."""
    queues: Mapping[str, QueueAnswer]
    """By name: each queue of `topology.declared`."""


def exchange(found: Found) -> Verdict:
    """Judge whether the exchange that hashes is there; RabbitMQ compares its type, and not what it hashes."""
    topology, declared = found.topology, found.declared
    name = topology.exchange
    facts = {"exchange": name, "topology": str(topology), "code": found.exchange.code}
    if found.exchange.code == NOT_FOUND:
        return fail(f"exchange {name!r} does not exist", remedy=_setup(found), **facts)
    if isinstance(declared, PluginMissing):
        return fail(f"exchange {name!r} routes nothing: {declared.what}", remedy=declared.remedy, **facts)
    if declared.code == PRECONDITION_FAILED:
        difference = differing(declared.text)
        said = declared.text if difference is None else f"its {difference[0]} is {difference[1]}"
        return fail(
            f"exchange {name!r} is not as `relay setup --topology {topology}` declares it: {said}",
            remedy=f"begin the topology anew: {ANEW}",
            **facts,
        )
    if declared.code == ACCESS_REFUSED:
        return unknown(
            f"exchange {name!r} exists; whether it hashes is unknown: this user may not declare it",
            remedy="check as the user of `relay setup`",
            **facts,
        )
    if found.exchange.code != ACCEPTED or declared.code != ACCEPTED:
        return _not_answered(declared, f"exchange {name!r}", facts)
    return ok(f"exchange {name!r} hashes", **facts)


def queues(found: Found) -> Verdict:
    """Judge whether every queue is there, as `relay setup` declares it."""
    missing = [name for name, each in found.queues.items() if each.answer.code == NOT_FOUND]
    left = [queue.name for queue in found.topology.queues if queue.name in missing and found.exchange.code == ACCEPTED]
    hidden = {name: each.why_unknown for name, each in found.queues.items() if each.arguments is None}
    wrong = list(_differences(found))
    facts = {"topology": str(found.topology), "missing": missing, "wrong": wrong}
    if left:
        return fail(
            f"{_listed(left)} does not exist: aggregates have moved to other queues",
            remedy=f"begin the topology anew: {ANEW}; `relay replay` publishes again what was deleted",
            **facts,
        )
    if missing:
        return fail(f"{_listed(missing)} does not exist", remedy=_setup(found), **facts)
    if wrong:
        return fail(
            f"not as `relay setup --topology {found.topology}` declares it: {'; '.join(wrong)}",
            remedy=f"begin the topology anew: {ANEW}",
            **facts,
        )
    if hidden:
        name, why = next(iter(hidden.items()))
        return unknown(
            f"the arguments of {len(hidden)} queues are unknown, such as {name!r}: {why}",
            remedy="check as the user of `relay setup`, or run `rabbitmqctl list_queues name type arguments`",
            **facts,
        )
    kind = "quorum queues with one active consumer each" if found.topology.kind == "hash" else "streams"
    return ok(f"{found.topology.number} {kind} are as `relay setup` declares them", **facts)


def binding(found: Found) -> Verdict:
    """Say how to see the bindings and what is hashed, which AMQP does not show."""
    topology = found.topology
    return unknown(
        "the bindings, and the header that is hashed, are unknown: AMQP does not show them",
        remedy=f"`rabbitmq-diagnostics consistent_hash_exchange_ring_state {topology.exchange}` must show "
        f"{topology.number} queues in the order of their names, and `rabbitmqctl list_exchanges name arguments` "
        f"{topology.header!r}: if not, begin anew ({ANEW}); up to RabbitMQ 4.2, `rabbitmqctl eval "
        "'worker_pool_sup:default_pool_size().'` must print 1: if not, set default_worker_pool_size = 1 in "
        "rabbitmq.conf (docs/scaling.md, 'Queues by hash'); `rabbitmqctl list_bindings` must show a binding from "
        f"{topology.source!r} to {topology.exchange!r} for each key: if not, {_setup(found)}",
        exchange=topology.exchange,
    )


CHECKS = (
    Check("broker.topology_exchange", exchange),
    Check("broker.topology_queues", queues),
    Check("broker.topology_binding", binding),
)


def _differences(found: Found) -> Iterator[str]:
    for name, expected in found.topology.declared:
        arguments = found.queues[name].arguments
        if arguments is None:
            continue
        for key in sorted({*expected, *arguments}):
            if arguments.get(key) != expected.get(key):
                yield f"{key} of {name!r} is {arguments.get(key, 'not set')}, not {expected.get(key, 'left out')}"


def _setup(found: Found) -> str:
    return f"run `relay setup --topology {found.topology}`, with its --topology-key if it has any"


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _not_answered(answer: Answer, what: str, facts: Mapping[str, object]) -> Verdict:
    return unknown(
        f"RabbitMQ did not answer about {what}: {answer.text or 'not in time'}", remedy="see broker.alarm", **facts
    )
