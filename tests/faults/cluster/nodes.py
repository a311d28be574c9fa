"""Nodes of a RabbitMQ cluster are killed, stopped or frozen under load; events go to a quorum queue, or to a stream.

The relay knows all three nodes. It must do what it does with one broker: lose nothing, and keep the order. While two of
three nodes work, events flow; the campaign prints how long they stood still until then.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

from outboxkit.errors import Problem
from sandbox.machine.waiting import until
from sandbox.servers.cluster import NODES, Cluster
from sandbox.servers.rabbitmq import Rabbitmq
from tests.faults.cluster import servers
from tests.faults.run import ATTEMPTS, Fault, Run
from tests.support.commands import Command
from tests.support.stage import WINDOW
from tests.support.stream_tap import StreamTap
from tests.support.tap import Tap
from tests.support.wire.confirm_clock import ConfirmClock

Kind = Literal["quorum", "stream"]

_KINDS: dict[Kind, str] = {"quorum": "a quorum queue", "stream": "a stream"}
# RabbitMQ 3.10 loses a quorum queue that was declared shortly before a kill.
_AGE = 30
_MORE = 2 * WINDOW
"""More messages than were under way when something broke."""
_GOES_ON_SECONDS = 90
"""In which events must flow again, if two nodes work. The relay waits 10 s for a frozen node, and tries the next."""
_WHOLE_SECONDS = 120
"""In which a node is back in the cluster, with its member of the queue."""
_FROZEN = (2.0, 25.0)
"""How long nodes stay frozen: less, or more, than the others take to notice it."""
_SETTLES = 5
"""In which a node that was thawed and the others find out that they have lost each other. Then it pauses and joins them
again, or it stays beside them."""
_UNDER_WAY = 3
"""Seconds in which what was confirmed before arrives."""


@dataclass(frozen=True)
class Scene:
    """A relay that publishes to a queue with a member on each node."""

    run: Run
    cluster: Cluster
    queue: str
    leader: Rabbitmq
    own: Rabbitmq
    """The node that the relay is connected to: another one than the leader, unless the fault is about both in one."""
    relay: Command
    clock: ConfirmClock

    def lasts(self, seconds: float) -> None:
        """Let `seconds` pass; fails if the relay ends."""
        assert self.relay.outlives(seconds), self.relay.tail()

    def goes_on(self) -> None:
        """Wait until messages are confirmed that were published later than now."""
        self.clock.grows(_MORE, seconds=_GOES_ON_SECONDS)

    def whole(self) -> None:
        """Wait until all nodes are one cluster, and the queue has a running member on each."""
        _wait_until_whole(self.cluster, self.queue)

    def rejoins(self) -> None:
        """After a freeze, do what docs/cluster.md says of a node that was suspended: restart it if it is split off."""
        self.lasts(_SETTLES)
        self.cluster.rejoin()


Act = Callable[[Scene], None]


def injected(kind: Kind, act: Act, run: Run, *, with_leader: bool = False) -> None:
    """Let `act` break the cluster and heal it; it must be whole again, and events must flow.

    `with_leader`: the relay is connected to the node with the queue's leader.
    """
    scene = _scene(kind, run, with_leader=with_leader)
    act(scene)
    run.healed()
    scene.whole()
    scene.lasts(_SETTLES)
    scene.whole()
    scene.goes_on()
    run.flows()
    run.stood_still = scene.clock.longest
    run.no_storm(NODES * ATTEMPTS)


def _scene(kind: Kind, run: Run, *, with_leader: bool) -> Scene:
    cluster = servers.of(run)
    run.borrow(servers.logs_kept(cluster, run.stage.directory))
    isolated = run.stage.isolated
    run.tap.unbind()
    queue = isolated.queue(kind)
    if kind == "stream":
        run.tap = StreamTap(isolated.amqp_url, queue=queue, exchange=isolated.name)
    else:
        run.tap = Tap(isolated.amqp_url, queue=queue, exchange=isolated.name, kind=kind)
    _wait_until_whole(cluster, queue)
    leader = cluster.leader(queue)
    own = leader if with_leader else run.draw.choice([node for node in cluster.nodes if node is not leader])
    clock = ConfirmClock()
    run.listen(clock)
    relay = run.streaming_relay(RELAY_AMQP_URL=_urls(run, first=cluster.nodes.index(own)))
    clock.begin()
    return Scene(run, cluster, queue, leader, own, relay, clock)


def _wait_until_whole(cluster: Cluster, queue: str) -> None:
    def whole() -> bool:
        try:
            return cluster.whole() and cluster.online(queue) == NODES
        except Problem:  # a node starts, and cannot be asked
            return False

    until(whole, what="the nodes are one cluster, each with a running member", seconds=_WHOLE_SECONDS, every=1)


def _urls(run: Run, *, first: int) -> str:
    """Return the URLs of the proxies before all nodes, of which the relay tries node `first` first."""
    return ",".join(broker.url for broker in (*run.brokers[first:], *run.brokers[:first]))


def leader_killed(scene: Scene) -> None:
    """Kill the node with the queue's leader; the relay is connected to another one."""
    scene.lasts(_AGE)
    scene.leader.kill()
    scene.goes_on()
    scene.leader.start()


def own_node_killed(scene: Scene) -> None:
    """Kill the node that the relay is connected to."""
    scene.lasts(_AGE)
    scene.own.kill()
    scene.relay.logged("broker not available")
    scene.goes_on()
    scene.own.start()


def node_stopped(scene: Scene) -> None:
    """Shut a node down, any of them, and start it again."""
    node = scene.run.draw.choice(scene.cluster.nodes)
    node.stop()
    scene.goes_on()
    node.start()


def minority_frozen(scene: Scene) -> None:
    """Freeze one node, any of them: events flow before it is thawed."""
    with _frozen(scene.run.draw.choice(scene.cluster.nodes)):
        scene.goes_on()
        scene.lasts(scene.run.draw.uniform(*_FROZEN))
    scene.rejoins()


def majority_frozen(scene: Scene) -> None:
    """Freeze two nodes: nothing may be confirmed until they are thawed."""
    with _frozen(*scene.run.draw.sample(scene.cluster.nodes, k=2)):
        scene.lasts(_UNDER_WAY)
        before = scene.clock.count
        scene.lasts(scene.run.draw.uniform(*_FROZEN))
        more = scene.clock.count - before
        assert not more, f"RabbitMQ confirmed {more} messages while two of three nodes were frozen"
    scene.rejoins()


def restarted_rolling(scene: Scene) -> None:
    """Restart all nodes, one after the other: each when the one before has caught up."""
    for node in scene.run.draw.sample(scene.cluster.nodes, k=NODES):
        node.stop()
        scene.lasts(scene.run.draw.uniform(0, 2))
        node.start()
        scene.whole()
        scene.goes_on()


@contextmanager
def _frozen(*nodes: Rabbitmq) -> Iterator[None]:
    for node in nodes:
        node.freeze()
    try:
        yield
    finally:
        for node in nodes:
            node.thaw()


def _faults(kind: Kind) -> tuple[Fault, ...]:
    def fault(what: str, act: Act, *, losses: int, recovers_within: float = 60, with_leader: bool = False) -> Fault:
        """Return a fault by which the relay loses at most `losses` connections, each with a full window."""
        return Fault(
            f"cluster with {_KINDS[kind]}: {what}",
            partial(injected, kind, act, with_leader=with_leader),
            duplicates=losses * WINDOW,
            recovers_within=recovers_within,
            servers=servers.started,
        )

    return (
        fault("leader killed", leader_killed, losses=1),
        fault("node of the relay lost", own_node_killed, losses=1),
        fault("node of the relay and the leader lost", own_node_killed, losses=1, with_leader=True),
        fault("node stopped in order", node_stopped, losses=1),
        fault("minority frozen", minority_frozen, losses=2),
        fault("majority frozen", majority_frozen, losses=4, recovers_within=180),
        fault("rolling restart", restarted_rolling, losses=NODES),
    )


FAULTS = (*_faults("quorum"), *_faults("stream"))
