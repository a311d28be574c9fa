"""The relay itself: each event, also one of a replay or a redriven one, comes into the queue of its aggregate."""

from collections.abc import Sequence

from relay.operating.topology.topology import Topology
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay import stage as of_relay
from tests.integration.relay.operating.topology.topology_stage import belonging, channel, emptied, places, topology
from tests.integration.relay.stage import call, environment
from tests.support.stage import Stage

SETTING = {"RELAY_TOPOLOGY": "hash:3"}
AGGREGATES = [str(n) for n in range(30)]


def came(isolated: Isolated, of: Topology, aggregates: Sequence[str]) -> None:
    """Assert that an event of each of these came, into the queue of its aggregate."""
    queues = [queue.name for queue in of.queues]
    assert places(emptied(isolated.amqp_url, queues, len(aggregates))) == belonging(of, aggregates)


def test_each_event_comes_into_the_queue_of_its_aggregate_and_a_replay_too(stage: Stage) -> None:
    of = topology(stage.isolated, "hash:3")
    assert stage.run("relay", "setup", **SETTING).process.returncode == 0
    stage.start("relay", "run", **SETTING).logged("streaming")
    first, *_ = of_relay.publish(stage.isolated.database_url, *AGGREGATES)
    came(stage.isolated, of, AGGREGATES)
    stage.published()
    said = call(environment(stage.isolated, **SETTING), "replay", "--from-event", first, "--yes")
    assert said.code == 0, said.output
    came(stage.isolated, of, AGGREGATES)


def test_events_of_a_queue_that_was_deleted_are_parked_and_come_into_it_when_they_are_redriven(stage: Stage) -> None:
    isolated, variables = stage.isolated, environment(stage.isolated, **SETTING)
    of = topology(isolated, "hash:3")
    assert stage.run("relay", "setup", **SETTING).process.returncode == 0
    stage.start("relay", "run", **SETTING).logged("streaming")
    with channel(isolated.amqp_url) as open_channel:
        open_channel.queue_delete(of.queues[1].name)
    of_relay.publish(isolated.database_url, *AGGREGATES)
    returned = [each for each, queue in belonging(of, AGGREGATES).items() if queue == of.queues[1].name]

    def parked() -> bool:
        return len(call(variables, "parked", "list", "--json").json) == len(returned)

    until(parked, what="what came back is parked", seconds=60)
    assert call(variables, "setup").code == 0
    assert call(variables, "parked", "redrive", "--all").code == 0
    came(isolated, of, AGGREGATES)
