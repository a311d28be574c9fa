"""The queues of RELAY_TOPOLOGY on a real broker: `relay setup` declares them, `relay check` judges them."""

from typing import Any

import pika.exceptions
import pytest

from outboxkit.amqp.topology import arguments
from relay.core.hashing.spread import Spread
from relay.operating.topology.topology import Topology
from sandbox import Isolated
from tests.integration.relay.operating.topology.topology_stage import (
    belonging,
    channel,
    emptied,
    messages,
    places,
    publish,
    read,
    topology,
)
from tests.integration.relay.stage import Said, call, environment

IDS = ("broker.topology_exchange", "broker.topology_queues", "broker.topology_binding", "broker.topology_setting")
AS_DECLARED = dict(zip(IDS, ("OK", "OK", "UNKNOWN", "OK"), strict=True))
TWO = Spread("hash", 2)


def setup(isolated: Isolated, *words: str, **changes: str) -> Said:
    return call(environment(isolated, **changes), "setup", *words)


def checked(isolated: Isolated, of: Topology, *words: str, **changes: str) -> dict[str, dict[str, Any]]:
    """Return the findings about a topology, which is that of the relay unless `changes` say otherwise."""
    variables = environment(isolated, **{"RELAY_TOPOLOGY": str(of), **changes})
    found = call(variables, "check", "--json", *words).json["checks"]
    return {each["id"]: each for each in found if each["id"] in IDS}


def statuses(isolated: Isolated, of: Topology) -> dict[str, str]:
    return {identity: each["status"] for identity, each in checked(isolated, of).items()}


def test_the_events_of_an_aggregate_come_into_one_queue_in_order_and_each_queue_has_some(ready: Isolated) -> None:
    of = topology(ready, "hash:4")
    said = setup(ready, RELAY_TOPOLOGY="hash:4")
    assert said.code == 0, said.output
    line = said.output.splitlines()[-1]
    first, last = of.queues[0].name, of.queues[-1].name
    assert line == f"topology: 4 queues by hash, {first!r} to {last!r}, get # of {ready.name!r}"
    aggregates = [f"order-{n % 100}" for n in range(500)]
    publish(ready.amqp_url, ready.name, aggregates, spread=of.spread)
    found = emptied(ready.amqp_url, [queue.name for queue in of.queues], 500)
    assert places(found) == belonging(of, aggregates)
    assert all(found.values()), "each queue has some"
    for came in found.values():  # each aggregate in its order: in the queue as it was published
        assert came == [each for each in aggregates if each in set(came)]
    assert statuses(ready, of) == AS_DECLARED


def test_it_can_be_repeated_and_what_was_interrupted_is_finished(ready: Isolated) -> None:
    of = topology(ready, "hash:3")
    with channel(ready.amqp_url) as open_channel:  # as far as an earlier run had come
        for name, of_queue in list(of.declared)[:3]:
            open_channel.queue_declare(name, durable=True, arguments=dict(of_queue))
    aggregates = [str(n) for n in range(90)]
    for _ in range(2):
        assert setup(ready, RELAY_TOPOLOGY="hash:3").code == 0
        publish(ready.amqp_url, ready.name, aggregates, spread=of.spread)
        found = emptied(ready.amqp_url, [queue.name for queue in of.queues], 90)
        assert places(found) == belonging(of, aggregates)


def test_only_what_has_one_of_the_keys_comes_into_the_queues(ready: Isolated) -> None:
    of = topology(ready, "hash:2")
    everything = ready.queue("everything")
    with channel(ready.amqp_url) as open_channel:
        open_channel.queue_declare(everything, durable=True)
        open_channel.queue_bind(everything, ready.name, "#")
    assert setup(ready, RELAY_TOPOLOGY="hash:2", RELAY_TOPOLOGY_KEYS="order.*,invoice.#").code == 0
    for key in ("order.paid", "invoice.sent.late", "task.pending"):
        publish(ready.amqp_url, ready.name, [key], spread=TWO, key=key)
    found = emptied(ready.amqp_url, [queue.name for queue in of.queues], 2)
    assert sorted(places(found)) == ["invoice.sent.late", "order.paid"]
    assert messages(ready.amqp_url, everything) == 3


def test_an_event_for_one_number_of_queues_never_comes_into_a_topology_of_another(ready: Isolated) -> None:
    both = [topology(ready, "hash:2"), topology(ready, "hash:3")]
    for each in both:
        assert setup(ready, RELAY_TOPOLOGY=str(each)).code == 0
    for each in both:
        publish(ready.amqp_url, ready.name, ["a", "b", "c"], spread=each.spread)
    for each in both:
        assert sorted(places(emptied(ready.amqp_url, [queue.name for queue in each.queues], 3))) == ["a", "b", "c"]
        assert statuses(ready, each) == AS_DECLARED


def test_queues_and_a_super_stream_of_one_number_get_the_same_events(ready: Isolated) -> None:
    both = [topology(ready, "hash:2"), topology(ready, "stream:2")]
    for each in both:
        assert "RELAY_TOPOLOGY=" not in setup(ready, "--topology", str(each), RELAY_TOPOLOGY="hash:2").output
    publish(ready.amqp_url, ready.name, [str(n % 20) for n in range(100)], spread=TWO)
    found = [emptied(ready.amqp_url, [queue.name for queue in both[0].queues], 100)]
    found.append(read(ready.amqp_url, [queue.name for queue in both[1].queues], 100))
    for of, came in zip(both, found, strict=True):
        assert places(came) == belonging(of, [str(n) for n in range(20)])
        assert statuses(ready, of) == AS_DECLARED
    assert checked(ready, both[0], "--topology", "stream:2")["broker.topology_setting"]["status"] == "OK"


@pytest.mark.parametrize(
    ("own", "remedy"),
    [
        ("", "set RELAY_TOPOLOGY=hash:2 for `relay run`"),
        ("hash:3", "if the queues of hash:3 are not in use, set RELAY_TOPOLOGY=hash:2 for `relay run`"),
    ],
)
def test_a_relay_without_this_topology_is_named_because_its_events_come_into_none_of_the_queues(
    ready: Isolated, own: str, remedy: str
) -> None:
    of = topology(ready, "hash:2")
    said = setup(ready, "--topology", "hash:2", RELAY_TOPOLOGY=own)
    assert said.code == 0
    assert said.output.splitlines()[-1].startswith(f"no event gets into its queues yet: {remedy}")
    found = checked(ready, of, "--topology", "hash:2", RELAY_TOPOLOGY=own)
    assert [found[identity]["status"] for identity in IDS] == ["OK", "OK", "UNKNOWN", "FAIL"]
    assert found["broker.topology_setting"]["remedy"].startswith(remedy)


def test_what_is_not_there_is_made_by_setup_and_what_is_not_named_is_not_judged(ready: Isolated) -> None:
    of = topology(ready, "hash:2")
    found = checked(ready, of)
    assert [found[identity]["status"] for identity in IDS] == ["FAIL", "FAIL", "UNKNOWN", "OK"]
    exchange, queues = (found[identity] for identity in IDS[:2])
    assert "run `relay setup --topology hash:2`" in exchange["remedy"]
    assert queues["remedy"] == f"see {IDS[0]}"
    unnamed = checked(ready, of, RELAY_TOPOLOGY="")
    assert {each["status"] for each in unnamed.values()} == {"OK"}


def test_a_queue_that_was_deleted_moves_no_aggregate_of_another_and_is_made_again_by_setup(ready: Isolated) -> None:
    of = topology(ready, "hash:3")
    assert setup(ready, RELAY_TOPOLOGY="hash:3").code == 0
    aggregates = [str(n) for n in range(90)]
    with channel(ready.amqp_url) as open_channel:
        open_channel.queue_delete(of.queues[1].name)
    mine = belonging(of, aggregates)
    others = [each for each in aggregates if mine[each] != of.queues[1].name]
    publish(ready.amqp_url, ready.name, others, spread=of.spread)
    left = [of.queues[0].name, of.queues[2].name]
    assert places(emptied(ready.amqp_url, left, len(others))) == belonging(of, others)
    with pytest.raises(pika.exceptions.UnroutableError):
        publish(ready.amqp_url, ready.name, [next(each for each in aggregates if each not in others)], spread=of.spread)
    assert checked(ready, of)["broker.topology_queues"]["status"] == "FAIL"
    assert setup(ready, RELAY_TOPOLOGY="hash:3").code == 0
    assert statuses(ready, of) == AS_DECLARED
    publish(ready.amqp_url, ready.name, aggregates, spread=of.spread)
    assert places(emptied(ready.amqp_url, [queue.name for queue in of.queues], 90)) == mine


@pytest.mark.parametrize("wrong", ["queue", "exchange"])
def test_what_was_declared_otherwise_is_refused_and_another_number_works_or_beginning_anew(
    ready: Isolated, wrong: str
) -> None:
    of, other = topology(ready, "hash:2"), topology(ready, "hash:3")
    with channel(ready.amqp_url) as open_channel:
        name = of.queues[1].name
        if wrong == "queue":
            open_channel.queue_declare(name, durable=True, arguments=dict(arguments(name)))
        else:
            open_channel.exchange_declare(of.exchange, "topic", durable=True)
    said = setup(ready, RELAY_TOPOLOGY="hash:2")
    assert said.code == 1
    assert "answered 406" in said.output
    assert "choose another number than 2" in said.output
    identity = "broker.topology_queues" if wrong == "queue" else "broker.topology_exchange"
    assert checked(ready, of)[identity]["status"] == "FAIL"
    assert setup(ready, RELAY_TOPOLOGY=str(other)).code == 0
    with channel(ready.amqp_url) as open_channel:  # the steps of docs/scaling.md
        open_channel.exchange_delete(of.exchange)
        for queue in of.queues:
            open_channel.queue_delete(queue.name)
    assert setup(ready, RELAY_TOPOLOGY="hash:2").code == 0
    assert statuses(ready, of) == AS_DECLARED


def test_a_topology_that_cannot_be_is_a_usage_error(ready: Isolated) -> None:
    assert setup(ready, "--topology", "hash").code == 2
    assert call(environment(ready), "check", "--topology", "hash:999").code == 2
    assert setup(ready, RELAY_TOPOLOGY="hash:1").code == 2
