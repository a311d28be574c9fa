"""Whether each RabbitMQ node that an AMQP URL names can be used. Pure.

The first one that can is used, so a wrong host or port, or a node that is down, is noticed only when it is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from outboxkit.checks.finding import Verdict, ok, warn
from outboxkit.errors import Problem


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that the URL names, as `host:port/vhost`, and what is wrong with those that cannot be used."""

    named: Sequence[str]
    problems: Sequence[Problem] = ()


def judge(nodes: Nodes) -> Verdict:
    """Judge whether another node can take the place of the one that is used."""
    facts = {"nodes": list(nodes.named), "unusable": len(nodes.problems)}
    if len(nodes.named) == 1:
        return ok("the AMQP URL names one node", **facts)
    wrong, remedies = [], [problem.remedy for problem in nodes.problems]
    if nodes.problems:
        what = "; ".join(problem.what for problem in nodes.problems)
        wrong.append(f"{len(nodes.problems)} of {len(nodes.named)} RabbitMQ nodes cannot be used: {what}")
    if twice := [node for node in dict.fromkeys(nodes.named) if nodes.named.count(node) > 1]:
        wrong.append(f"the AMQP URL names {', '.join(twice)} more than once")
        remedies.append("name each node of the cluster once")
    if not wrong:
        return ok(f"each of {len(nodes.named)} RabbitMQ nodes can be used", **facts)
    return warn("; ".join(wrong), remedy="; ".join(dict.fromkeys(remedies)), **facts)
