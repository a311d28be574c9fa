"""`bench tasks` on real servers with small loads: each part runs, counts correctly, and notices what is not done."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.measures.tasks import applied, arms, claiming, soak
from bench.workers import workers
from outboxkit.errors import Problem
from sandbox import Sandbox

WINDOW = 100


@pytest.mark.parametrize("arm", arms.OURS, ids=lambda arm: arm.name)
def test_each_arm_works_through_a_backlog(sandbox: Sandbox, arm: arms.Arm) -> None:
    worked = arm.run(sandbox, tasks=300, window=WINDOW)
    assert worked.per_second > 0
    assert worked.cpu_per_task >= 0
    if isinstance(arm, arms.Bare):
        assert (worked.transactions, worked.wal_bytes) == (None, None)
    else:
        assert worked.transactions is not None
        assert worked.wal_bytes is not None
        assert worked.wal_bytes > 100
        in_transactions = arm is arms.TRANSACTION
        assert (worked.transactions > 1) == in_transactions, "batches, unless each has a transaction of its own"


def test_a_task_that_was_not_completed_is_noticed(sandbox: Sandbox) -> None:
    with workers(sandbox, window=WINDOW) as shop:
        shop.place.execute("bench_task_rows", tasks=1)
        with pytest.raises(Problem, match="not every one of 1 tasks was completed by its only claim"):
            shop.check(1)


def test_latency_is_measured_from_submission_to_completion(sandbox: Sandbox) -> None:
    (found,) = applied.measure(sandbox, rates=[20], seconds=5, window=WINDOW)
    assert (found.rate, found.tasks) == (20, 100)
    assert 10 < found.achieved < 40
    assert 0 < found.applied_ms.p50 <= found.applied_ms.p99 <= found.applied_ms.max


def test_claims_are_measured_in_each_table(sandbox: Sandbox) -> None:
    small, large = claiming.measure(sandbox, rows=[1000, 3000], window=WINDOW)
    assert (small.rows, large.rows) == (1000, 3000)
    assert small.of_smallest == 1
    assert large.of_smallest == large.single_ms.p50 / small.single_ms.p50
    assert 0 < small.single_ms.p50 < small.batch_ms.p50


def test_a_soak_ends_with_every_task_accounted_for(sandbox: Sandbox) -> None:
    found = soak.soak(sandbox, tasks=600, seed=7, window=WINDOW)
    assert sum(found.states.values()) == 600
    assert found.states.keys() <= {"completed", "cancelled", "dead"}
    assert found.counted["runs that failed"] > 0
    assert found.counted["runs"] >= found.states["completed"] + found.counted["runs that failed"]
    assert [found.counted[name] for name in ("ran twice at one version", "completed without a run", "stuck")] == [0] * 3


def test_the_command_writes_its_report(sandbox: Sandbox, tmp_path: Path) -> None:
    to = tmp_path / "report.json"
    words = ["tasks", "--part", "backlog", "--arm", "in threads", "--tasks", "200", "--runs", "1", "--json", str(to)]
    servers = {"SANDBOX_DATABASE_URL": sandbox.servers.database_url, "SANDBOX_AMQP_URL": sandbox.servers.amqp_url}
    done = subprocess.run(
        [Path(sys.executable).parent / "bench", *words],
        env=os.environ | servers,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "run 1 of 1: sync handler, in threads" in done.stderr
    (line,) = json.loads(to.read_text())["tasks"]
    assert (line["arm"], line["tasks"], line["of_bare"]) == ("sync handler, in threads", 200, None)


def test_an_arm_that_does_not_exist_is_refused() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "bench", "tasks", "--arm", "nothing"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no arm has that in its name" in done.stderr
