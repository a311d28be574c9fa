"""The fault campaign (`make faults`): its frame tells what is broken, and two of its faults that no test here has."""

from pathlib import Path

import pika
import pytest

from sandbox import Sandbox
from tests.faults import processes, slots
from tests.faults.judging import Verdict, judge
from tests.faults.run import Fault, Run, running

FAULTS = {fault.name: fault for fault in (*processes.FAULTS, *slots.FAULTS)}


def verdict(fault: Fault, sandbox: Sandbox, directory: Path, seed: int) -> Verdict:
    with running(sandbox, directory, seed=seed) as run:
        fault.inject(run)
        return judge(run, fault)


@pytest.mark.parametrize("name", ["relay frozen, replaced and woken", "slot dropped under the relay"])
def test_a_relay_stands_its_fault(name: str, sandbox: Sandbox, tmp_path: Path, seed: int) -> None:
    assert verdict(FAULTS[name], sandbox, tmp_path, seed).broken == ()


def lose_and_repeat(run: Run) -> None:
    """Take out what the tap holds, and publish again what the relay published after that, as a bad relay would."""
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


def test_a_run_that_loses_and_repeats_is_told(sandbox: Sandbox, tmp_path: Path, seed: int) -> None:
    found = verdict(Fault("none", lose_and_repeat, duplicates=1), sandbox, tmp_path, seed)
    assert found.lost > 0
    assert found.duplicates >= 2
    assert any("lost: " in line for line in found.broken)
    assert any("duplicates, and at most 1 are allowed" in line for line in found.broken)
