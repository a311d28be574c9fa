"""What a check says of the nodes that an AMQP URL names."""

import pytest

from outboxkit.amqp.errors import BrokerUnavailable, LoginRefused
from outboxkit.checks.finding import Status
from outboxkit.checks.nodes import Nodes, judge
from outboxkit.errors import Problem

NAMED = ("h1:5672/", "h2:5672/", "h3:5672/")


def away(host: str) -> Problem:
    return BrokerUnavailable(f"{host} is not reachable", remedy="check that it runs")


@pytest.mark.parametrize(
    ("nodes", "summary"),
    [
        (Nodes(NAMED[:1]), "the AMQP URL names one node"),
        (Nodes(NAMED), "each of 3 RabbitMQ nodes can be used"),
    ],
)
def test_what_can_be_used_passes(nodes: Nodes, summary: str) -> None:
    found = judge(nodes)
    assert (found.status, found.summary, found.remedy) == (Status.OK, summary, "")


def test_a_node_that_is_named_twice_cannot_take_its_own_place() -> None:
    found = judge(Nodes((*NAMED, NAMED[0])))
    assert (found.status, found.summary) == (Status.WARN, "the AMQP URL names h1:5672/ more than once")
    assert found.remedy == "name each node of the cluster once"


def test_a_node_that_is_named_twice_hides_none_that_cannot_be_used() -> None:
    found = judge(Nodes((*NAMED, NAMED[0]), [away("h2")]))
    assert found.summary == (
        "1 of 4 RabbitMQ nodes cannot be used: h2 is not reachable; the AMQP URL names h1:5672/ more than once"
    )
    assert found.remedy == "check that it runs; name each node of the cluster once"


def test_each_node_that_cannot_be_used_is_a_warning_with_its_remedy_once() -> None:
    refused = LoginRefused("h3 refused the user", remedy="check the user")
    found = judge(Nodes(NAMED, [away("h1"), away("h2"), refused]))
    assert found.status is Status.WARN
    assert found.summary == (
        "3 of 3 RabbitMQ nodes cannot be used: h1 is not reachable; h2 is not reachable; h3 refused the user"
    )
    assert found.remedy == "check that it runs; check the user"
    assert found.facts == {"nodes": list(NAMED), "unusable": 3}
