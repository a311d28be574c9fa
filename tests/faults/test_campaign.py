"""The fault campaign (`make faults`): it reports what is broken, and those of its faults that no other test covers."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pika
import pytest

from sandbox import Sandbox
from sandbox.servers.cluster import PORTS, Cluster
from tests.faults import processes
from tests.faults.catalogue import FAULTS
from tests.faults.cluster.servers import logs_kept
from tests.faults.judging import Verdict, judge
from tests.faults.run import REPEATED, Fault, Run, running


def verdict(fault: Fault, sandbox: Sandbox, directory: Path, seed: int) -> Verdict:
    with running(fault, sandbox, directory, seed=seed) as run:
        fault.inject(run)
        return judge(run, fault)


@pytest.mark.parametrize("inject", [processes.frozen, processes.frozen_after_a_change])
def test_a_relay_that_is_frozen_replaced_and_woken_publishes_nothing_of_what_it_held(
    sandbox: Sandbox, tmp_path: Path, seed: int, inject: Callable[[Run], None]
) -> None:
    fault = Fault("frozen", inject, duplicates=processes.BULK + REPEATED)
    assert verdict(fault, sandbox, tmp_path, seed).broken == ()


def test_what_is_committed_and_replicated_survives_the_promotion_of_a_standby_without_the_slot(
    sandbox: Sandbox, tmp_path: Path, seed: int
) -> None:
    (fault,) = (each for each in FAULTS if each.name == "standby promoted without the slot")
    assert verdict(fault, sandbox, tmp_path, seed).broken == ()


def test_a_fault_of_a_later_version_of_postgres_is_left_out_and_says_so() -> None:
    fault = Fault("of a later version", lose_and_repeat, duplicates=0, since=17)
    assert fault.lack(15) == "needs PostgreSQL 17, and this is 15"
    assert fault.lack(17) is None


def test_a_relay_whose_own_node_of_a_cluster_is_lost_goes_on_at_another_one(
    sandbox: Sandbox, tmp_path: Path, seed: int
) -> None:
    (fault,) = (each for each in FAULTS if each.name == "cluster with a quorum queue: node of the relay lost")
    found = verdict(fault, sandbox, tmp_path, seed)
    assert found.broken == ()
    assert found.stood_still is not None


def test_the_logs_of_all_nodes_of_a_cluster_are_kept_also_when_a_run_fails(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "cluster", script=tmp_path, ports=dict.fromkeys(PORTS, 1), password="x")
    for node in cluster.nodes[:2]:
        node.log.parent.mkdir(parents=True)
        node.log.write_text(node.name, encoding="utf-8")
    kept = tmp_path / "kept"
    kept.mkdir()
    with pytest.raises(AssertionError, match="the run fails"), logs_kept(cluster, kept):
        raise AssertionError("the run fails")
    names = [node.name for node in cluster.nodes[:2]]
    assert {path.name: path.read_text(encoding="utf-8") for path in kept.iterdir()} == {f"{n}.log": n for n in names}


def lose_and_repeat(run: Run) -> None:
    """Purge the tap, and publish later messages again, as a broken relay would."""
    run.streaming_relay()
    queue = f"{run.stage.isolated.name}.tap"
    with pika.BlockingConnection(pika.URLParameters(run.stage.isolated.amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_purge(queue)
        run.flows()
        _, properties, body = channel.basic_get(queue)
        assert properties
        assert body
        for _ in range(3):
            channel.basic_publish("", queue, body, properties)


def test_a_run_that_loses_and_repeats_is_reported(sandbox: Sandbox, tmp_path: Path, seed: int) -> None:
    found = verdict(Fault("none", lose_and_repeat, duplicates=1), sandbox, tmp_path, seed)
    assert found.lost > 0
    assert found.duplicates >= 2
    assert any("lost: " in line for line in found.broken)
    assert any("duplicates, and at most 1 are allowed" in line for line in found.broken)


def test_the_command_of_the_campaign_takes_names_of_faults() -> None:
    words = [sys.executable, "-m", "tests.faults", "none that there is"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no such fault" in done.stderr
