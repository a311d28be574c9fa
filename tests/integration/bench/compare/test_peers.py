"""A peer on real servers, with small sizes: the phases that every arm has, its edges and ours, and the command."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec

import sandbox as sandboxes
from bench.compare import arms, results
from bench.compare.arms import Way
from bench.compare.peers import pika_poller
from bench.compare.results import Edge, Run
from bench.compare.run import edges, phases
from bench.compare.run.edges import BROKER, PROGRAM, UNROUTABLE
from sandbox import Sandbox, SandboxSettings
from tests.integration.bench.compare.planned import planned

POLLER = pika_poller.PEER


def installed(place: Path) -> Way:
    return Way(POLLER.arm, peer=POLLER, command=POLLER.install(place))


def edges_of(found: Run) -> dict[str, Edge]:
    reasons = [phase.not_measured for phase in found.phases if phase.not_measured]
    assert reasons == []
    return {phase.name: phase.edge for phase in found.phases if phase.edge is not None}


def test_a_peer_has_the_phases_of_an_arm(sandbox: Sandbox, tmp_path: Path) -> None:
    found = phases.run(sandbox, planned(), installed(tmp_path), repetition=0)
    assert found.not_measured is None
    drain, load, idle = found.phases
    assert (drain.kind, load.kind, idle.kind) == ("drain", "load", "idle")
    for phase in (drain, load):
        assert phase.correctness is not None
        assert phase.correctness.committed > 0
        assert (phase.correctness.missed, phase.correctness.duplicated) == (0, 0)
    assert drain.figures["drain_rate"].value > 0
    assert load.figures["dead_tuples"].value > 0  # its UPDATE of each row
    assert load.latencies["applied"].quantile(0.5) > 0
    assert load.figures["relay_rss"].value > 10_000_000
    assert "restarts" not in load.figures


def test_the_edges_show_what_a_hand_written_poller_loses(sandbox: Sandbox, tmp_path: Path) -> None:
    found = edges_of(edges.run(sandbox, planned(), installed(tmp_path)))
    assert found[UNROUTABLE] == Edge(
        100, lost=50, kept_aside=0, redriven=0, duplicated=0, duplicated_otherwise=0, restarts=0
    )
    for name in (BROKER, PROGRAM):
        assert found[name].committed == 250
        assert (found[name].lost, found[name].kept_aside, found[name].duplicated_otherwise) == (0, 0, 0)
        assert found[name].restarts >= 1


def test_ours_parks_what_is_unroutable_and_loses_nothing(sandbox: Sandbox) -> None:
    found = edges_of(edges.run(sandbox, planned(), arms.named("WAL (wal2json)")))
    assert found[UNROUTABLE] == Edge(
        100, lost=0, kept_aside=50, redriven=50, duplicated=0, duplicated_otherwise=0, restarts=0
    )
    for each in (BROKER, PROGRAM):
        assert found[each].committed == 1000
        assert (found[each].lost, found[each].kept_aside, found[each].duplicated_otherwise) == (0, 0, 0)
    assert found[PROGRAM].restarts == 1


def test_on_servers_that_are_not_ours_the_broker_is_not_killed(sandbox: Sandbox, tmp_path: Path) -> None:
    servers = sandbox.servers
    settings = SandboxSettings(database_url=servers.database_url, amqp_url=servers.amqp_url)
    with sandboxes.start(settings) as named:
        found = {phase.name: phase for phase in edges.run(named, planned(), installed(tmp_path)).phases}
    assert "is never started" in (found[BROKER].not_measured or "")
    edge = found[UNROUTABLE].edge
    assert edge is not None
    assert edge.lost == 50


def test_the_command_adds_a_peer_to_a_comparison_which_reports_it_later_too(sandbox: Sandbox, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    plan = msgspec.structs.replace(planned(), arms=("no relay",), repetitions=1)
    (out / "plan.json").write_bytes(msgspec.json.encode(plan))
    servers = {"SANDBOX_DATABASE_URL": sandbox.servers.database_url, "SANDBOX_AMQP_URL": sandbox.servers.amqp_url}

    def bench(*words: str) -> list[str]:
        done = subprocess.run(
            [Path(sys.executable).parent / "bench", *words, "--out", str(out)],
            env=os.environ | servers, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return sorted(run.arm for run in results.read(out / "report" / "results.json").runs)

    assert bench("compare") == ["no relay"]
    both = sorted(["no relay", POLLER.arm.name, POLLER.arm.name, "WAL (wal2json)", "polling, 1 s"])
    assert bench("peers", "--peer", "pika") == both
    assert bench("compare") == both
