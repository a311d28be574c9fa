"""Checks of a topology: its exchange, its queues, and what AMQP does not show. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from outboxkit.amqp.answers.answer import ACCEPTED, ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED, Answer, differing
from outboxkit.amqp.asking import QueueAnswer
from outboxkit.checks.finding import Check, Verdict, fail, ok, unknown
from relay.core.hashing.spread import Spread
from relay.operating.topology.topology import ANEW, Topology

NOT_ASKED = "RELAY_TOPOLOGY is not set, and no topology was named: `relay check --topology hash:8` judges one"
_CAME_BACK = (
    "then `relay parked list` shows what came back meanwhile, and `relay replay` publishes again what a queue had when "
    "it was deleted"
)
_DEAD_LETTERS = "what it had is gone; `relay replay` publishes it again"
_NAMED = 4
"""How many missing queues are named; the facts have all of them."""


@dataclass(frozen=True, slots=True)
class Found:
    """What RabbitMQ answered about a topology."""

    topology: Topology
    spread: Spread | None
    """That of RELAY_TOPOLOGY."""
    exchange: Answer
    declared: Answer
    """The answer to declaring the exchange as `relay setup` does; if it does not exist, the same as `exchange`."""
    queues: Mapping[str, QueueAnswer]
    """By name: each queue of `topology.declared`."""


def exchange(found: Found) -> Verdict:
    """Judge whether the exchange that compares headers is there."""
    topology, declared = found.topology, found.declared
    name = topology.exchange
    facts = {"exchange": name, "topology": str(topology), "code": found.exchange.code}
    if found.exchange.code == NOT_FOUND:
        return fail(
            f"exchange {name!r} does not exist",
            remedy=f"if {topology} is the topology that is wanted, {_setup(found)}; otherwise correct RELAY_TOPOLOGY "
            "or --topology",
            **facts,
        )
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
            f"exchange {name!r} exists; its type is unknown: this user may not declare it",
            remedy="check as the user of `relay setup`",
            **facts,
        )
    if found.exchange.code != ACCEPTED or declared.code != ACCEPTED:
        return _not_answered(declared, f"exchange {name!r}", facts)
    return ok(f"exchange {name!r} compares the header {topology.spread.header}", **facts)


def queues(found: Found) -> Verdict:
    """Judge whether every queue is there, as `relay setup` declares it."""
    missing = [name for name, each in found.queues.items() if each.answer.code == NOT_FOUND]
    hidden = {name: each.why_unknown for name, each in found.queues.items() if each.arguments is None}
    wrong = list(_differences(found))
    facts = {"topology": str(found.topology), "missing": missing, "wrong": wrong}
    if wrong:  # before what is missing: `relay setup` cannot make that meanwhile
        return fail(
            f"not as `relay setup --topology {found.topology}` declares it: {'; '.join(wrong)}",
            remedy=f"begin the topology anew: {ANEW}",
            **facts,
        )
    if len(missing) == len(found.queues):
        return fail(
            f"none of the {found.topology.spread.queues} queues of {found.topology} exists",
            remedy="see broker.topology_exchange"
            if found.exchange.code == NOT_FOUND
            else f"{_setup(found)}; {_CAME_BACK}",
            **facts,
        )
    if missing:
        more = f", and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        only_dead = not {queue.name for queue in found.topology.queues}.intersection(missing)
        return fail(
            f"missing: {', '.join(map(repr, missing[:_NAMED]))}{more}",
            remedy=f"{_setup(found)}; {_DEAD_LETTERS if only_dead else _CAME_BACK}",
            **facts,
        )
    if hidden:
        name, why = next(iter(hidden.items()))
        return unknown(
            f"the arguments of {len(hidden)} queues are unknown, such as {name!r}: {why}",
            remedy="check as the user of `relay setup`, or run `rabbitmqctl list_queues name type arguments`",
            **facts,
        )
    kind = "quorum queues with one active consumer each" if found.topology.spread.kind == "hash" else "streams"
    return ok(f"{found.topology.spread.queues} {kind} are as `relay setup` declares them", **facts)


def binding(found: Found) -> Verdict:
    """Say how to see the bindings, which AMQP does not show."""
    topology = found.topology
    return unknown(
        "the bindings are unknown: AMQP does not show them",
        remedy="`rabbitmqctl list_bindings source_name destination_name routing_key arguments` must show one from "
        f"{topology.exchange!r} to each of its {topology.spread.queues} queues, with the queue's number as "
        f"{topology.spread.header}, and one from {topology.source!r} to {topology.exchange!r} for each of "
        f"{', '.join(topology.keys)}: if one is missing, {_setup(found)}",
        exchange=topology.exchange,
    )


def setting(found: Found) -> Verdict:
    """Judge whether the relay gives its events the header that is compared."""
    topology, own = found.topology, "not set" if found.spread is None else str(found.spread)
    facts = {"topology": str(topology), "setting": None if found.spread is None else own}
    if topology.fed_by(found.spread):
        return ok(f"RELAY_TOPOLOGY is {own}: each event has the header {topology.spread.header}", **facts)
    return fail(
        f"RELAY_TOPOLOGY is {own}: no event gets into the queues of {topology}",
        remedy=topology.needed(found.spread),
        **facts,
    )


CHECKS = (
    Check("broker.topology_exchange", exchange),
    Check("broker.topology_queues", queues),
    Check("broker.topology_binding", binding),
    Check("broker.topology_setting", setting),
)


def _differences(found: Found) -> Iterator[str]:
    for name, expected in found.topology.declared:
        arguments = found.queues[name].arguments
        if arguments is None:
            continue
        for key in sorted({*expected, *arguments}):
            if arguments.get(key) != expected.get(key):
                is_set, right = arguments.get(key, "not set"), expected.get(key, "left out")
                yield f"{key} of {name!r} is {_shown(is_set)}, not {_shown(right)}"


def _shown(value: object) -> str:
    return str(value) if value != "" else "''"


def _setup(found: Found) -> str:
    return f"run `relay setup --topology {found.topology}`, with its RELAY_TOPOLOGY_KEYS if it has any"


def _not_answered(answer: Answer, what: str, facts: Mapping[str, object]) -> Verdict:
    return unknown(
        f"RabbitMQ did not answer about {what}: {answer.text or 'not in time'}", remedy="see broker.alarm", **facts
    )
