"""`relay setup --topology` and `relay check --topology` on a real broker."""

from typing import Any

import pytest

from outboxkit.amqp.topology import arguments
from relay.operating.topology.topology import Topology
from sandbox import Isolated
from sandbox.lifetime import private
from sandbox.servers.backend import Extra
from tests.integration.relay.operating.topology.topology_stage import (
    channel,
    emptied,
    messages,
    places,
    publish,
    read,
    topology,
)
from tests.integration.relay.stage import Said, call, environment

IDS = ("broker.topology_exchange", "broker.topology_queues", "broker.topology_binding")
AS_DECLARED = dict(zip(IDS, ("OK", "OK", "UNKNOWN"), strict=True))


def setup(isolated: Isolated, *words: str, **changes: str) -> Said:
    return call(environment(isolated, **changes), "setup", *words)


def checked(isolated: Isolated, of: Topology) -> dict[str, dict[str, Any]]:
    """Return the findings about a topology."""
    found = call(environment(isolated), "check", "--json", "--topology", str(of)).json["checks"]
    return {each["id"]: each for each in found if each["id"] in IDS}


def statuses(isolated: Isolated, of: Topology) -> dict[str, str]:
    return {identity: each["status"] for identity, each in checked(isolated, of).items()}


def test_the_events_of_an_aggregate_come_into_one_queue_in_order_and_each_queue_has_some(ready: Isolated) -> None:
    of = topology(ready, "hash:4")
    said = setup(ready, "--topology", "hash:4")
    assert said.code == 0, said.output
    line = said.output.splitlines()[-1]
    first, last = of.queues[0].name, of.queues[-1].name
    assert line == f"topology: 4 queues by hash, {first!r} to {last!r}, get # of {ready.name!r}"
    aggregates = [f"order-{n % 100}" for n in range(500)]
    publish(ready.amqp_url, ready.name, aggregates)
    found = emptied(ready.amqp_url, [queue.name for queue in of.queues], 500)
    assert len(places(found)) == 100
    assert all(found.values()), "each queue has some"
    for came in found.values():  # each aggregate in its order: in the queue as it was published
        assert came == [each for each in aggregates if each in set(came)]
    assert statuses(ready, of) == AS_DECLARED


def test_it_can_be_repeated_and_what_was_interrupted_is_finished(ready: Isolated) -> None:
    of = topology(ready, "hash:3")
    with channel(ready.amqp_url) as open_channel:  # as far as an earlier run had come
        for name, of_queue in list(of.declared)[:3]:
            open_channel.queue_declare(name, durable=True, arguments=dict(of_queue))
    assert setup(ready, "--topology", "hash:3").code == 0
    publish(ready.amqp_url, ready.name, [str(n) for n in range(90)])
    before = places(emptied(ready.amqp_url, [queue.name for queue in of.queues], 90))
    assert setup(ready, "--topology", "hash:3").code == 0
    publish(ready.amqp_url, ready.name, [str(n) for n in range(90)])
    assert places(emptied(ready.amqp_url, [queue.name for queue in of.queues], 90)) == before


def test_only_what_has_one_of_the_keys_comes_into_the_queues(ready: Isolated) -> None:
    of = topology(ready, "hash:2")
    everything = ready.queue("everything")
    with channel(ready.amqp_url) as open_channel:
        open_channel.queue_declare(everything, durable=True)
        open_channel.queue_bind(everything, ready.name, "#")
    keys = ("--topology-key", "order.*", "--topology-key", "invoice.#")
    assert setup(ready, "--topology", "hash:2", *keys).code == 0
    for key in ("order.paid", "invoice.sent.late", "task.pending"):
        publish(ready.amqp_url, ready.name, [key], key=key)
    found = emptied(ready.amqp_url, [queue.name for queue in of.queues], 2)
    assert sorted(places(found)) == ["invoice.sent.late", "order.paid"]
    assert messages(ready.amqp_url, everything) == 3


def test_two_topologies_get_the_same_events_and_know_nothing_of_each_other(ready: Isolated) -> None:
    both = [topology(ready, "hash:2"), topology(ready, "hash:3")]
    for each in both:
        assert setup(ready, "--topology", str(each)).code == 0
    publish(ready.amqp_url, ready.name, ["a", "b", "c"])
    for each in both:
        assert sorted(places(emptied(ready.amqp_url, [queue.name for queue in each.queues], 3))) == ["a", "b", "c"]
        assert statuses(ready, each) == AS_DECLARED


def test_a_super_stream_has_every_event_of_an_aggregate_in_one_partition(ready: Isolated) -> None:
    of = topology(ready, "stream:2")
    assert setup(ready, "--topology", "stream:2").code == 0
    publish(ready.amqp_url, ready.name, [str(n % 20) for n in range(100)])
    assert len(places(read(ready.amqp_url, [queue.name for queue in of.queues], 100))) == 20
    assert statuses(ready, of) == AS_DECLARED


def test_what_is_not_there_is_made_by_setup_and_what_is_not_named_is_not_judged(ready: Isolated) -> None:
    of = topology(ready, "hash:2")
    found = checked(ready, of)
    assert [found[identity]["status"] for identity in IDS] == ["FAIL", "FAIL", "UNKNOWN"]
    assert found[IDS[0]]["remedy"] == found[IDS[1]]["remedy"]
    assert found[IDS[0]]["remedy"].startswith("run `relay setup --topology hash:2`")
    unnamed = call(environment(ready), "check", "--json").json["checks"]
    assert {each["status"] for each in unnamed if each["id"] in IDS} == {"OK"}


def test_a_queue_that_was_deleted_is_not_replaced_and_beginning_anew_works(ready: Isolated) -> None:
    of = topology(ready, "hash:3")
    assert setup(ready, "--topology", "hash:3").code == 0
    with channel(ready.amqp_url) as open_channel:
        open_channel.queue_delete(of.queues[1].name)
    said = setup(ready, "--topology", "hash:3")
    assert said.code == 1
    assert f"exchange {of.exchange!r} is there, and {of.queues[1].name!r} behind it is not" in said.output
    assert "docs/scaling.md, 'Begin anew'" in said.output
    assert checked(ready, of)["broker.topology_queues"]["status"] == "FAIL"
    with channel(ready.amqp_url) as open_channel:  # the steps of docs/scaling.md
        open_channel.exchange_delete(of.exchange)
        for queue in of.queues:
            open_channel.queue_delete(queue.name)
    assert setup(ready, "--topology", "hash:3").code == 0
    assert statuses(ready, of) == AS_DECLARED


@pytest.mark.parametrize("wrong", ["queue", "exchange"])
def test_what_was_declared_otherwise_is_refused_and_another_number_works(ready: Isolated, wrong: str) -> None:
    of, other = topology(ready, "hash:2"), topology(ready, "hash:3")
    with channel(ready.amqp_url) as open_channel:
        name = of.queues[1].name
        if wrong == "queue":
            open_channel.queue_declare(name, durable=True, arguments=dict(arguments(name)))
        else:
            for declared, of_queue in of.declared:
                open_channel.queue_declare(declared, durable=True, arguments=dict(of_queue))
            open_channel.exchange_declare(of.exchange, "topic", durable=True)
    said = setup(ready, "--topology", "hash:2")
    assert said.code == 1
    assert "answered 406" in said.output
    assert "choose another number than 2" in said.output
    identity = "broker.topology_queues" if wrong == "queue" else "broker.topology_exchange"
    assert checked(ready, of)[identity]["status"] == "FAIL"
    assert setup(ready, "--topology", str(other)).code == 0


def test_a_broker_without_the_plugin_is_told_which_one(ready: Isolated) -> None:
    with private.rabbitmq(Extra(files={"enabled_plugins": "[].\n"})) as plain:
        said = setup(ready, "--topology", "hash:2", RELAY_AMQP_URL=plain.url)
    assert said.code == 1
    assert "does not know the type of an exchange" in said.output
    assert "`rabbitmq-plugins enable rabbitmq_consistent_hash_exchange`" in said.output


def test_a_topology_that_cannot_be_is_a_usage_error(ready: Isolated) -> None:
    assert setup(ready, "--topology", "hash").code == 2
    assert setup(ready, "--topology-key", "order.*").code == 2
    assert call(environment(ready), "check", "--topology", "hash:999").code == 2
