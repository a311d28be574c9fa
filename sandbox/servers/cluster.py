"""A private RabbitMQ cluster of three nodes, run by this machine's programs, on loopback.

The nodes have a cookie of their own and share one Erlang port mapper. It is a process beside them: a node that is
killed does not take it along, and the others could not be found without it.

A replica of a stream listens on a port from 6000 on, on every address, until the stream's leader has connected to it;
it takes this one connection, by a token, and RabbitMQ has no setting for the address.
"""

import json
import secrets
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from outboxkit.errors import Problem
from sandbox.machine import processes, programs, waiting
from sandbox.servers.backend import Extra, RabbitmqServer
from sandbox.servers.rabbitmq import Ports, Rabbitmq, server_account

NODES = 3
PORTS = (
    "cluster_epmd_port",
    *(f"cluster_{kind}_{number}_port" for number in range(1, NODES + 1) for kind in ("amqp", "distribution")),
)
"""The names of its ports in a sandbox's record; `cluster_script` and `cluster_password` are there too."""
_MAPPER_SECONDS = 10.0
_JOIN_SECONDS = 120.0
# A node that starts for the first time joins those that are named here; the first one is named to itself only, and
# begins the cluster (https://www.rabbitmq.com/docs/cluster-formation#peer-discovery-classic-config). A node that sees
# no majority pauses (https://www.rabbitmq.com/docs/3.13/partitions#automatic-handling); from 4.3 on there is nothing
# else, and the line has no effect (https://www.rabbitmq.com/docs/partitions).
_MEMBER = "cluster_formation.classic_config.nodes"
_CONFIGURATION = """\
cluster_partition_handling = pause_minority
{members}
"""


@dataclass(frozen=True)
class View:
    """What `rabbitmqctl cluster_status` says on one node."""

    running: frozenset[str]
    """The nodes that it works with, itself among them."""
    partitions: bool
    """Whether two nodes have lost each other, and do not work together although they are connected again."""

    @classmethod
    def read(cls, status: Mapping[str, Any]) -> "View":
        """Read the answer in JSON."""
        return cls(frozenset(status["running_nodes"]), bool(status["partitions"]))

    @property
    def whole(self) -> bool:
        """Whether all nodes are one cluster."""
        return len(self.running) == NODES and not self.partitions


def apart(views: Mapping[str, View]) -> str | None:
    """Return the node that works alone beside all others, which work together; None if there is none.

    `partitions` is not asked: each node finds them by itself, and may miss one.
    """
    for name, view in views.items():
        others = views.keys() - {name}
        if view.running == {name} and all(views[other].running == others for other in others):
            return name
    return None


class Cluster:
    """Three nodes in `home`; all together are started, stopped and administered as one RabbitMQ is."""

    def __init__(self, home: Path, *, script: Path, ports: Mapping[str, int], password: str) -> None:
        self.home = home
        """The part of the sandbox's directory that its processes belong to."""
        self._mapper = home / "epmd"
        self._mapper_port = ports["cluster_epmd_port"]
        self._joined = home / "joined"
        """A file that exists once all nodes were one cluster."""
        self.nodes = tuple(
            Rabbitmq(
                home / f"node{number}",
                script=script,
                ports=Ports(
                    amqp=ports[f"cluster_amqp_{number}_port"],
                    distribution=ports[f"cluster_distribution_{number}_port"],
                    epmd=self._mapper_port,
                ),
                password=password,
                name=f"sandbox{number}",
            )
            for number in range(1, NODES + 1)
        )
        self.url = ",".join(node.url for node in self.nodes)
        """The whole URLs of all nodes, as RELAY_AMQP_URL takes them."""

    @classmethod
    def recorded(cls, home: Path, values: Mapping[str, Any]) -> "Cluster":
        """Return the cluster in `home` that a sandbox's record describes."""
        return cls(home, script=Path(values["cluster_script"]), ports=values, password=values["cluster_password"])

    def create(self, extra: Extra | None = None) -> None:
        """Make every node's files, with `extra` for each, in place of what an interrupted attempt left."""
        extra = extra or Extra()
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(mode=0o711, parents=True)
        self._mapper.mkdir(mode=0o700)
        server_account().own(self._mapper)
        cookie = {".erlang.cookie": secrets.token_hex(20)}
        for node in self.nodes:
            members = dict.fromkeys((self.nodes[0].name, node.name))
            lines = (f"{_MEMBER}.{number} = {name}" for number, name in enumerate(members, start=1))
            configuration = _CONFIGURATION.format(members="\n".join(lines))
            node.create(Extra(configuration + extra.configuration, {**cookie, **extra.files}))

    @property
    def complete(self) -> bool:
        """Whether all its nodes have been one cluster."""
        return self._joined.exists()

    def start(self) -> None:
        """Start the nodes that do not run, thaw those that are frozen, and return when all are there.

        After a stop of all of them they are started together: with Mnesia, each waits for the one that stopped last.
        A node that was frozen for long may be restarted (`rejoin`).
        """
        self._map_ports()
        for node in self.nodes:
            node.thaw()
        if not self.complete:
            self.nodes[0].start()
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait()
        self.rejoin()
        self._joined.touch()

    def rejoin(self) -> None:
        """Wait until all nodes are one cluster; restart RabbitMQ on the node that stays beside the others.

        A node that was frozen for longer than `net_ticktime` may stay there until then, although all nodes run
        (docs/cluster.md, "A node that was suspended").
        """
        waiting.until(self._rejoined, what="its nodes are one cluster", seconds=_JOIN_SECONDS, every=1)

    def whole(self) -> bool:
        """Return whether all nodes answer, and are one cluster."""
        return self.version() is not None and _view(self).whole

    def stop(self) -> None:
        """Stop the nodes cleanly, one after the other."""
        for node in self.nodes:
            node.stop()
        processes.end(self._mapper)

    def kill(self) -> None:
        """Kill all nodes with SIGKILL."""
        processes.end(self.home)

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` beside a node that answers and return what it prints; raises Problem when it fails."""
        node = next((each for each in self.nodes if each.version() is not None), None)
        if node is None:
            raise Problem("no node of the RabbitMQ cluster answers", remedy="start the nodes, or wait until they have")
        return node.control(*arguments)

    def version(self) -> str | None:
        """Return the first node's version; None unless all nodes answer."""
        versions = [node.version() for node in self.nodes]
        return None if None in versions else versions[0]

    def leader(self, queue: str) -> Rabbitmq:
        """Return the node with the leader of a quorum queue or of a stream; call it while all nodes answer."""
        name = self._of(queue)["leader"]
        return next(node for node in self.nodes if node.name == name)

    def online(self, queue: str) -> int:
        """Return how many nodes have a running member of a quorum queue or of a stream."""
        return len(self._of(queue)["online"])

    def _rejoined(self) -> bool:
        """Return whether all nodes are one cluster; if one works alone, restart it."""
        try:
            if _view(self).whole:
                return True
            alone = apart({node.name: _view(node) for node in self.nodes})
        except Problem:  # a node pauses or starts, and cannot be asked
            return False
        for node in (each for each in self.nodes if each.name == alone):
            node.control("stop_app")
            node.control("start_app")
        return False

    def _of(self, queue: str) -> dict[str, Any]:
        listed = json.loads(self.control("list_queues", "name", "leader", "online", "--formatter", "json"))
        found: dict[str, Any] | None = next((each for each in listed if each["name"] == queue), None)
        if found is None:
            raise Problem(f"the RabbitMQ cluster has no queue {queue!r}", remedy="declare it")
        return found

    def _map_ports(self) -> None:
        """Start the port mapper, unless it runs (https://www.erlang.org/doc/apps/erts/epmd_cmd)."""
        if not processes.belonging(self._mapper):
            processes.spawn(
                self._mapper,
                [str(programs.epmd()), "-address", "127.0.0.1", "-port", str(self._mapper_port)],
                account=server_account(),
                environment={"PATH": programs.search_path()},
                log=self._mapper / "epmd.log",
            )
        answers = partial(_accepts, self._mapper_port)
        waiting.until(answers, what="Erlang's port mapper accepts connections", seconds=_MAPPER_SECONDS)


def _view(server: RabbitmqServer) -> View:
    return View.read(json.loads(server.control("cluster_status", "--formatter", "json")))


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
