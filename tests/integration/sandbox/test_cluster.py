"""A RabbitMQ cluster of the sandbox: three nodes on loopback, each of which can be killed, stopped and frozen."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from outboxkit.amqp.connection import Connection
from sandbox.lifetime import private
from sandbox.machine import processes
from sandbox.machine.waiting import until
from sandbox.servers import record
from sandbox.servers.backend import Extra
from sandbox.servers.cluster import NODES, Cluster

LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
SOON = 60
STATUS = ("cluster_status", "--formatter", "json")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with private.cluster(Extra()) as servers:
        yield servers


@pytest.fixture
def whole(cluster: Cluster) -> Iterator[Cluster]:
    """Yield the cluster; what a test broke is repaired afterwards."""
    yield cluster
    cluster.start()


def running(cluster: Cluster) -> list[str]:
    return sorted(json.loads(cluster.control(*STATUS))["running_nodes"])


def machines(cluster: Cluster) -> list[processes.Process]:
    """Return the nodes' Erlang VMs."""
    return [one for one in processes.belonging(cluster.home) if one.program.startswith("beam")]


async def declared(url: str, queue: str, kind: str) -> None:
    """Declare a queue through the first node of `url` that answers."""
    connection = await Connection.open(url, name="test")
    channel = await connection.channel()
    await connection.call(channel.queue_declare, queue, durable=True, arguments={"x-queue-type": kind})
    await connection.close()


def test_its_nodes_know_each_other_and_each_is_named_by_the_url(cluster: Cluster) -> None:
    assert running(cluster) == [node.name for node in cluster.nodes]
    assert len(running(cluster)) == NODES
    assert cluster.url.split(",") == [node.url for node in cluster.nodes]
    assert cluster.version()


def test_everything_listens_on_loopback_only_and_nothing_runs_as_root(cluster: Cluster) -> None:
    ports = {number for name, number in record.read(cluster.home.parent).items() if name.endswith("_port")}
    listening: set[tuple[str, int]] = set()
    for table in ("tcp", "tcp6"):
        rows = [line.split() for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]]
        places = (row[1].split(":") for row in rows if row[3] == "0A")
        listening |= {(address, int(port, 16)) for address, port in places}
    ours = {(address, port) for address, port in listening if port in ports}
    assert {port for _, port in ours} == ports
    assert {address for address, _ in ours} <= LOOPBACK
    assert all(Path(f"/proc/{one.pid}").stat().st_uid for one in processes.belonging(cluster.home))


@pytest.mark.parametrize("kind", ["quorum", "stream"])
def test_a_replicated_queue_has_a_member_on_each_node_and_its_leader_where_it_was_declared(
    cluster: Cluster, kind: str
) -> None:
    node = cluster.nodes[1]
    asyncio.run(declared(node.url, kind, kind))
    until(lambda: cluster.online(kind) == NODES, what="each node has a member", seconds=SOON)
    assert cluster.leader(kind) is node


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_a_node_goes_alone_and_comes_back(whole: Cluster, way: str) -> None:
    first, *others = whole.nodes
    getattr(first, way)()
    assert first.version() is None
    assert whole.version() is None
    assert all(other.version() for other in others)
    left = [other.name for other in others]
    until(lambda: running(whole) == left, what="the others have noticed", seconds=SOON)
    asyncio.run(declared(whole.url, f"without.{way}", "classic"))
    first.start()
    until(lambda: len(running(whole)) == NODES, what="the node is back", seconds=SOON)


def test_a_frozen_node_keeps_its_connections_and_answers_again_when_it_is_thawed(whole: Cluster) -> None:
    node = whole.nodes[0]

    async def scenario() -> None:
        connection = await Connection.open(node.url, name="test")
        try:
            channel = await connection.channel()
            node.freeze()
            asked = asyncio.create_task(connection.call(channel.basic_qos, prefetch_count=1))
            assert await asyncio.wait([asked], timeout=2) == (set(), {asked})
            assert not connection.lost.done()
            node.thaw()
            async with asyncio.timeout(10):
                await asked
        finally:
            await connection.close()

    asyncio.run(scenario())


def test_nodes_that_lost_each_other_for_a_moment_are_one_cluster_again_after_a_rejoin(whole: Cluster) -> None:
    """RabbitMQ either pauses the node by itself, or leaves it split off: which of both is a race of milliseconds."""
    lost = whole.nodes[2]
    meets = "[net_adm:ping(N) || N <- rabbit_nodes:all()]"
    lost.control("eval", f"[erlang:disconnect_node(N) || N <- nodes()], {meets}.")
    whole.rejoin()
    assert whole.whole()
    assert all(len(json.loads(node.control(*STATUS))["running_nodes"]) == NODES for node in whole.nodes)


def test_all_nodes_start_again_after_all_were_killed_and_after_all_were_stopped(whole: Cluster) -> None:
    for end in (whole.kill, whole.stop):
        end()
        assert processes.belonging(whole.home) == []
        whole.start()
        assert len(running(whole)) == NODES


def test_a_start_thaws_what_is_frozen_and_changes_nothing_else(whole: Cluster) -> None:
    before = machines(whole)
    assert len(before) == NODES
    whole.nodes[2].freeze()
    whole.start()
    assert whole.version()
    assert machines(whole) == before


def test_its_cookie_is_its_own_and_only_the_servers_user_reads_it(cluster: Cluster) -> None:
    files = [cluster.home / f"node{number}" / ".erlang.cookie" for number in range(1, NODES + 1)]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    (cookie,) = {file.read_text(encoding="ascii") for file in files}
    assert len(cookie) == 40
